package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

// table is where a kind of object is, and how its children are counted.
type table struct{ shared, locked, children, remove string }

// wanted is the beginning of a query that looks up objects one by one, in the order of the key, so that nodes wait for
// each other and seldom in a circle. It is no join, which would read the whole table if it was planned when that was
// small.
const wanted = `SELECT o.tenant, o.id, o.version
	FROM (SELECT * FROM unnest($1::text[], $2::text[]) AS u (tenant, id) ORDER BY tenant, id) AS w, LATERAL `

// A row whose children are counted, or that is written or removed, is locked for that, so that no child comes or goes
// meanwhile: whoever makes one expects the parent, and shares its lock.
var tables = map[store.Kind]table{
	store.KindAdvisor: {
		wanted + `(SELECT * FROM advisors WHERE tenant = w.tenant AND id = w.id FOR SHARE) AS o`,
		wanted + `(SELECT * FROM advisors WHERE tenant = w.tenant AND id = w.id FOR UPDATE) AS o`,
		`SELECT count(*) FROM investors WHERE tenant = $1 AND advisor = $2`,
		`DELETE FROM advisors WHERE tenant = $1 AND id = $2`,
	},
	store.KindInvestor: {
		wanted + `(SELECT * FROM investors WHERE tenant = w.tenant AND id = w.id FOR SHARE) AS o`,
		wanted + `(SELECT * FROM investors WHERE tenant = w.tenant AND id = w.id FOR UPDATE) AS o`,
		`SELECT count(*) FROM advice_sessions WHERE tenant = $1 AND investor = $2`,
		`DELETE FROM investors WHERE tenant = $1 AND id = $2`,
	},
	store.KindSession: {
		wanted + `(SELECT * FROM advice_sessions WHERE tenant = w.tenant AND id = w.id FOR SHARE) AS o`,
		wanted + `(SELECT * FROM advice_sessions WHERE tenant = w.tenant AND id = w.id FOR UPDATE) AS o`,
		`SELECT count(*) FROM reports WHERE tenant = $1 AND session = $2`,
		`DELETE FROM advice_sessions WHERE tenant = $1 AND id = $2`,
	},
}

// changes writes the changes of a batch into the open transaction, those that hold. What they expect is read, and what
// they write is written, for as many at once as have nothing to do with each other: one round trip for most batches, in
// place of two for each change.
type changes struct {
	conn    *pgx.Conn
	batch   *pgx.Batch // not sent yet: what changes that hold write, and what the open ones expect
	open    []*changing
	touched map[thing]bool // by the open ones; true: written
	refuse  func(*store.Submission)
}

// changing is a change whose expectations are being read.
type changing struct {
	*store.Submission
	held bool
}

// thing is what a change expects or writes: an object, or an idempotency key of a caller (kind "").
type thing struct {
	tenant string
	kind   store.Kind
	id     string
	caller string
}

// add takes the submission's change. Those added before are decided first if this one depends on them.
func (c *changes) add(ctx context.Context, s *store.Submission) error {
	things, alone := touches(s)
	depends := alone
	for t, writes := range things {
		others, touched := c.touched[t]
		depends = depends || touched && (writes || others)
	}
	if depends {
		if err := c.decide(ctx); err != nil {
			return err
		}
	}
	for t, writes := range things {
		c.touched[t] = c.touched[t] || writes
	}
	c.open = append(c.open, &changing{Submission: s, held: true})
	if alone {
		return c.decide(ctx)
	}
	return nil
}

// decide sends what is queued, reads what the open changes expect, and queues what those write that hold; the others
// are refused.
func (c *changes) decide(ctx context.Context) error {
	if len(c.open) == 0 {
		return nil
	}
	versions := map[thing]int64{}
	c.queueVersions(versions)
	for _, x := range c.open {
		x.queueCounts(c.batch)
	}
	if err := c.conn.SendBatch(ctx, c.batch).Close(); err != nil {
		return err
	}
	c.batch = &pgx.Batch{}
	var held []*changing
	for _, x := range c.open {
		if x.held && x.expects(versions) {
			held = append(held, x)
		} else {
			c.refuse(x.Submission)
		}
	}
	queueChanges(c.batch, held)
	c.open = nil
	clear(c.touched)
	return nil
}

// queueVersions reads the versions of all objects that the open changes expect or write, with a statement for each kind
// and lock.
func (c *changes) queueVersions(versions map[thing]int64) {
	type lock struct {
		kind   store.Kind
		writes bool
	}
	tenants, ids := map[lock][]string{}, map[lock][]string{}
	for t, writes := range c.touched {
		k := lock{t.kind, writes}
		tenants[k], ids[k] = append(tenants[k], t.tenant), append(ids[k], t.id)
	}
	for _, kind := range []store.Kind{store.KindAdvisor, store.KindInvestor, store.KindSession} {
		for _, writes := range []bool{false, true} {
			k := lock{kind, writes}
			if len(ids[k]) == 0 {
				continue
			}
			query := tables[kind].shared
			if writes {
				query = tables[kind].locked
			}
			c.batch.Queue(query, tenants[k], ids[k]).Query(func(rows pgx.Rows) error {
				t := thing{kind: kind}
				var version int64
				_, err := pgx.ForEachRow(rows, []any{&t.tenant, &t.id, &version}, func() error {
					versions[t] = version
					return nil
				})
				return err
			})
		}
	}
}

// touches lists what the submission's change expects (false), and what it writes or whose children it counts (true).
// One that counts children or removes something, or whose events have IDs that a later submission may take if this one
// is refused, is decided alone.
func touches(s *store.Submission) (things map[thing]bool, alone bool) {
	c := s.Change
	things = map[thing]bool{}
	alone = len(c.Remove) > 0
	for _, e := range c.Expect {
		counts := e.Children >= 0
		things[thing{tenant: s.Tenant, kind: e.Kind, id: e.ID}] = counts
		alone = alone || counts
	}
	if c.Advisor != nil {
		things[thing{tenant: s.Tenant, kind: store.KindAdvisor, id: c.Advisor.ID}] = true
	}
	if c.Investor != nil {
		things[thing{tenant: s.Tenant, kind: store.KindInvestor, id: c.Investor.ID}] = true
	}
	if c.Session != nil {
		things[thing{tenant: s.Tenant, kind: store.KindSession, id: c.Session.ID}] = true
	}
	if c.Report != nil {
		things[thing{tenant: s.Tenant, kind: kindReport, id: c.Report.ID}] = true
	}
	if c.Key != nil {
		things[thing{tenant: s.Tenant, id: c.Key.Key, caller: c.Key.Caller}] = true
	}
	for i := range s.Events {
		alone = alone || s.Events[i].IDGiven
	}
	return things, alone
}

// kindReport is that of a report's thing; nothing expects one.
const kindReport store.Kind = "report"

// expects tells whether the change holds on the versions that are stored; 0 is that of what is not.
func (x *changing) expects(versions map[thing]int64) bool {
	c := x.Change
	at := func(k store.Kind, id string, version int64) bool {
		return versions[thing{tenant: x.Tenant, kind: k, id: id}] == version
	}
	for _, e := range c.Expect {
		if !at(e.Kind, e.ID, e.Version) {
			return false
		}
	}
	return (c.Advisor == nil || at(store.KindAdvisor, c.Advisor.ID, c.Advisor.Version-1)) &&
		(c.Investor == nil || at(store.KindInvestor, c.Investor.ID, c.Investor.Version-1)) &&
		(c.Session == nil || at(store.KindSession, c.Session.ID, c.Session.Version-1))
}

// queueCounts looks at everything else that the change expects: how many children there are, and that its report and
// its key are new.
func (x *changing) queueCounts(batch *pgx.Batch) {
	c := x.Change
	want := func(n int64) func(pgx.Row) error {
		return func(row pgx.Row) error {
			var got int64
			err := row.Scan(&got)
			x.held = x.held && got == n
			return err
		}
	}
	for _, e := range c.Expect {
		if e.Children >= 0 {
			batch.Queue(tables[e.Kind].children, x.Tenant, e.ID).QueryRow(want(int64(e.Children)))
		}
	}
	if c.Report != nil {
		batch.Queue(`SELECT count(*) FROM reports WHERE tenant = $1 AND id = $2`, x.Tenant,
			c.Report.ID).QueryRow(want(0))
	}
	if c.Key != nil {
		batch.Queue(`SELECT count(*) FROM idempotency_keys WHERE tenant = $1 AND caller = $2 AND key = $3`,
			x.Tenant, c.Key.Caller, c.Key.Key).QueryRow(want(0))
	}
}

// queueChanges writes changes that have nothing to do with each other: parents before children.
func queueChanges(batch *pgx.Batch, list []*changing) {
	for _, x := range list {
		if a := x.Change.Advisor; a != nil {
			queueAdvisor(batch, x.Tenant, a)
		}
	}
	queueInvestors(batch, list)
	queueSessions(batch, list)
	for _, x := range list {
		queueRest(batch, x.Tenant, x.Change)
	}
}

func queueAdvisor(batch *pgx.Batch, tenant string, a *store.Advisor) {
	batch.Queue(`INSERT INTO advisors (tenant, id, version, name, email, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (tenant, id) DO UPDATE SET version = $3, name = $4, email = $5, created_at = $6, updated_at = $7`,
		tenant, a.ID, a.Version, a.Name, a.Email, a.CreatedAt, a.UpdatedAt)
}

// queueInvestors writes all investors of the changes in one statement.
func queueInvestors(batch *pgx.Batch, list []*changing) {
	var tenant, id, advisor, kind, name, email, country, reference []string
	var version []int64
	var created, updated []time.Time
	var deleted []*time.Time
	for _, x := range list {
		i := x.Change.Investor
		if i == nil {
			continue
		}
		tenant, id, version = append(tenant, x.Tenant), append(id, i.ID), append(version, i.Version)
		advisor, kind = append(advisor, i.AdvisorID), append(kind, i.Type)
		name, email = append(name, i.Name), append(email, i.Email)
		country, reference = append(country, i.Country), append(reference, i.Reference)
		created, updated = append(created, i.CreatedAt), append(updated, i.UpdatedAt)
		deleted = append(deleted, nullable(i.DeletedAt))
	}
	if len(id) == 0 {
		return
	}
	batch.Queue(`INSERT INTO investors
			(tenant, id, version, advisor, type, name, email, country, reference, created_at, updated_at, deleted_at)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
			$8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[])
		ON CONFLICT (tenant, id) DO UPDATE SET version = excluded.version, advisor = excluded.advisor, type = excluded.type,
			name = excluded.name, email = excluded.email, country = excluded.country, reference = excluded.reference,
			created_at = excluded.created_at, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at`,
		tenant, id, version, advisor, kind, name, email, country, reference, created, updated, deleted)
}

// queueSessions writes all advice sessions of the changes in one statement.
func queueSessions(batch *pgx.Batch, list []*changing) {
	var tenant, id, investor, title, objective, profile, recommendation []string
	var version []int64
	var horizon []int32
	var created, updated []time.Time
	var completed, deleted []*time.Time
	for _, x := range list {
		s := x.Change.Session
		if s == nil {
			continue
		}
		tenant, id, version = append(tenant, x.Tenant), append(id, s.ID), append(version, s.Version)
		investor, title = append(investor, s.InvestorID), append(title, s.Title)
		objective, profile = append(objective, s.Objective), append(profile, s.RiskProfile)
		horizon, recommendation = append(horizon, int32(s.HorizonYears)), append(recommendation, s.Recommendation)
		created, updated = append(created, s.CreatedAt), append(updated, s.UpdatedAt)
		completed, deleted = append(completed, nullable(s.CompletedAt)), append(deleted, nullable(s.DeletedAt))
	}
	if len(id) == 0 {
		return
	}
	batch.Queue(`INSERT INTO advice_sessions (tenant, id, version, investor, title, objective, risk_profile, horizon_years,
			recommendation, created_at, updated_at, completed_at, deleted_at)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
			$8::integer[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[])
		ON CONFLICT (tenant, id) DO UPDATE SET version = excluded.version, investor = excluded.investor,
			title = excluded.title, objective = excluded.objective, risk_profile = excluded.risk_profile,
			horizon_years = excluded.horizon_years, recommendation = excluded.recommendation,
			created_at = excluded.created_at, updated_at = excluded.updated_at, completed_at = excluded.completed_at,
			deleted_at = excluded.deleted_at`,
		tenant, id, version, investor, title, objective, profile, horizon, recommendation, created, updated, completed,
		deleted)
}

// queueRest writes the report and the key of a change, and removes what it removes.
func queueRest(batch *pgx.Batch, tenant string, c *store.Change) {
	if r := c.Report; r != nil {
		batch.Queue(`INSERT INTO reports (tenant, id, session, created_at, content) VALUES ($1, $2, $3, $4, $5)`,
			tenant, r.ID, r.SessionID, r.CreatedAt, r.Content)
	}
	for _, x := range c.Remove {
		if x.Kind == store.KindSession {
			batch.Queue(`DELETE FROM reports WHERE tenant = $1 AND session = $2`, tenant, x.ID)
		}
		batch.Queue(tables[x.Kind].remove, tenant, x.ID)
	}
	if k := c.Key; k != nil {
		batch.Queue(`INSERT INTO idempotency_keys (tenant, caller, key, request, object, created_at)
			VALUES ($1, $2, $3, $4, $5, $6)`,
			tenant, k.Caller, k.Key, k.Request[:], k.ObjectID, k.CreatedAt)
	}
}

// nullable is a time's column: NULL for the zero time.
func nullable(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
