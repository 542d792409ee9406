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

// change writes the change of a submission into the open transaction if it holds; false when it does not, and then
// nothing is written.
func change(ctx context.Context, conn *pgx.Conn, tenant string, c *store.Change) (bool, error) {
	held, err := holds(ctx, conn, tenant, c)
	if !held || err != nil {
		return false, err
	}
	var batch pgx.Batch
	queueChange(&batch, tenant, c)
	err = conn.SendBatch(ctx, &batch).Close()
	return err == nil, err
}

// holds looks at everything that the change expects, in one round trip.
func holds(ctx context.Context, conn *pgx.Conn, tenant string, c *store.Change) (bool, error) {
	ok := true
	var batch pgx.Batch
	want := func(n int64) func(pgx.Row) error {
		return func(row pgx.Row) error {
			var got int64
			if err := row.Scan(&got); err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			ok = ok && got == n
			return nil
		}
	}
	written := func(k store.Kind, o *store.Object) {
		batch.Queue(tables[k].lock, tenant, o.ID).QueryRow(want(o.Version - 1))
	}
	for _, e := range c.Expect {
		t := tables[e.Kind]
		if e.Children < 0 {
			batch.Queue(t.version, tenant, e.ID).QueryRow(want(e.Version))
			continue
		}
		batch.Queue(t.lock, tenant, e.ID).QueryRow(want(e.Version))
		batch.Queue(t.children, tenant, e.ID).QueryRow(want(int64(e.Children)))
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
		batch.Queue(`SELECT count(*) FROM reports WHERE tenant = $1 AND id = $2`, tenant, c.Report.ID).QueryRow(want(0))
	}
	if c.Key != nil {
		batch.Queue(`SELECT count(*) FROM idempotency_keys WHERE tenant = $1 AND caller = $2 AND key = $3`,
			tenant, c.Key.Caller, c.Key.Key).QueryRow(want(0))
	}
	if batch.Len() == 0 {
		return true, nil
	}
	err := conn.SendBatch(ctx, &batch).Close() // sets ok
	return ok && err == nil, err
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
