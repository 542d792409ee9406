package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

// table is where a kind of object is, and how its children are counted.
type table struct{ version, lock, children, remove string }

// A row whose children are counted, or that is written or removed, is locked for that, so that no child comes or goes
// meanwhile: whoever makes one expects the parent, and shares its lock.
var tables = map[store.Kind]table{
	store.KindAdvisor: {
		`SELECT version FROM advisors WHERE tenant = $1 AND id = $2 FOR SHARE`,
		`SELECT version FROM advisors WHERE tenant = $1 AND id = $2 FOR UPDATE`,
		`SELECT count(*) FROM investors WHERE tenant = $1 AND advisor = $2`,
		`DELETE FROM advisors WHERE tenant = $1 AND id = $2`,
	},
	store.KindInvestor: {
		`SELECT version FROM investors WHERE tenant = $1 AND id = $2 FOR SHARE`,
		`SELECT version FROM investors WHERE tenant = $1 AND id = $2 FOR UPDATE`,
		`SELECT count(*) FROM advice_sessions WHERE tenant = $1 AND investor = $2`,
		`DELETE FROM investors WHERE tenant = $1 AND id = $2`,
	},
	store.KindSession: {
		`SELECT version FROM advice_sessions WHERE tenant = $1 AND id = $2 FOR SHARE`,
		`SELECT version FROM advice_sessions WHERE tenant = $1 AND id = $2 FOR UPDATE`,
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
	x := &changing{Submission: s, held: true}
	c.open = append(c.open, x)
	x.queueExpected(c.batch)
	if alone {
		return c.decide(ctx)
	}
	return nil
}

// decide sends what is queued, and queues what those changes write that hold; the others are refused.
func (c *changes) decide(ctx context.Context) error {
	if len(c.open) == 0 {
		return nil
	}
	if err := c.conn.SendBatch(ctx, c.batch).Close(); err != nil {
		return err
	}
	c.batch = &pgx.Batch{}
	for _, x := range c.open {
		if x.held {
			queueChange(c.batch, x.Tenant, x.Change)
		} else {
			c.refuse(x.Submission)
		}
	}
	c.open = c.open[:0]
	clear(c.touched)
	return nil
}

// touches lists what the submission's change expects (false) and writes (true). One that counts or removes children, or
// whose events have IDs that a later submission may take if this one is refused, is decided alone.
func touches(s *store.Submission) (things map[thing]bool, alone bool) {
	c := s.Change
	things = map[thing]bool{}
	alone = len(c.Remove) > 0
	for _, e := range c.Expect {
		things[thing{tenant: s.Tenant, kind: e.Kind, id: e.ID}] = false
		alone = alone || e.Children >= 0
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

// queueExpected looks at everything that the change expects.
func (x *changing) queueExpected(batch *pgx.Batch) {
	c := x.Change
	want := func(n int64) func(pgx.Row) error {
		return func(row pgx.Row) error {
			var got int64
			if err := row.Scan(&got); err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			x.held = x.held && got == n
			return nil
		}
	}
	written := func(k store.Kind, o *store.Object) {
		batch.Queue(tables[k].lock, x.Tenant, o.ID).QueryRow(want(o.Version - 1))
	}
	for _, e := range c.Expect {
		t := tables[e.Kind]
		if e.Children < 0 {
			batch.Queue(t.version, x.Tenant, e.ID).QueryRow(want(e.Version))
			continue
		}
		batch.Queue(t.lock, x.Tenant, e.ID).QueryRow(want(e.Version))
		batch.Queue(t.children, x.Tenant, e.ID).QueryRow(want(int64(e.Children)))
	}
	if c.Advisor != nil {
		written(store.KindAdvisor, &c.Advisor.Object)
	}
	if c.Investor != nil {
		written(store.KindInvestor, &c.Investor.Object)
	}
	if c.Session != nil {
		written(store.KindSession, &c.Session.Object)
	}
	if c.Report != nil {
		batch.Queue(`SELECT count(*) FROM reports WHERE tenant = $1 AND id = $2`, x.Tenant, c.Report.ID).QueryRow(want(0))
	}
	if c.Key != nil {
		batch.Queue(`SELECT count(*) FROM idempotency_keys WHERE tenant = $1 AND caller = $2 AND key = $3`,
			x.Tenant, c.Key.Caller, c.Key.Key).QueryRow(want(0))
	}
}

func queueChange(batch *pgx.Batch, tenant string, c *store.Change) {
	if a := c.Advisor; a != nil {
		batch.Queue(`INSERT INTO advisors (tenant, id, version, name, email, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (tenant, id) DO UPDATE SET version = $3, name = $4, email = $5, created_at = $6, updated_at = $7`,
			tenant, a.ID, a.Version, a.Name, a.Email, a.CreatedAt, a.UpdatedAt)
	}
	if i := c.Investor; i != nil {
		batch.Queue(`INSERT INTO investors
				(tenant, id, version, advisor, type, name, email, country, reference, created_at, updated_at, deleted_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
			ON CONFLICT (tenant, id) DO UPDATE SET version = $3, advisor = $4, type = $5, name = $6, email = $7, country = $8,
				reference = $9, created_at = $10, updated_at = $11, deleted_at = $12`,
			tenant, i.ID, i.Version, i.AdvisorID, i.Type, i.Name, i.Email, i.Country, i.Reference, i.CreatedAt, i.UpdatedAt,
			nullable(i.DeletedAt))
	}
	if s := c.Session; s != nil {
		batch.Queue(`INSERT INTO advice_sessions (tenant, id, version, investor, title, objective, risk_profile, horizon_years,
				recommendation, created_at, updated_at, completed_at, deleted_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
			ON CONFLICT (tenant, id) DO UPDATE SET version = $3, investor = $4, title = $5, objective = $6, risk_profile = $7,
				horizon_years = $8, recommendation = $9, created_at = $10, updated_at = $11, completed_at = $12, deleted_at = $13`,
			tenant, s.ID, s.Version, s.InvestorID, s.Title, s.Objective, s.RiskProfile, s.HorizonYears, s.Recommendation,
			s.CreatedAt, s.UpdatedAt, nullable(s.CompletedAt), nullable(s.DeletedAt))
	}
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
		batch.Queue(`INSERT INTO idempotency_keys (tenant, caller, key, request, object, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
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
