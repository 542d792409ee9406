package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	advisorColumns = `SELECT num, tenant, id, version, created_at, updated_at, NULL::timestamptz, name, email FROM advisors
		WHERE tenant = $1`
	investorColumns = `SELECT num, tenant, id, version, created_at, updated_at, deleted_at,
		advisor, type, name, email, country, reference FROM investors WHERE tenant = $1`
	sessionColumns = `SELECT num, tenant, id, version, created_at, updated_at, deleted_at,
		investor, title, objective, risk_profile, horizon_years, recommendation, completed_at FROM advice_sessions
		WHERE tenant = $1`

	byID = ` AND id = $2`
	page = ` AND num > $2 ORDER BY num LIMIT $3`
)

// scanObject fills an object from the first seven columns, and rest from those after them.
func scanObject(row pgx.CollectableRow, o *store.Object, rest ...any) error {
	var deleted *time.Time
	err := row.Scan(append([]any{&o.Num, &o.Tenant, &o.ID, &o.Version, &o.CreatedAt, &o.UpdatedAt, &deleted},
		rest...)...)
	o.CreatedAt, o.UpdatedAt, o.DeletedAt = floor(o.CreatedAt), floor(o.UpdatedAt), orZero(deleted)
	return err
}

func scanAdvisor(row pgx.CollectableRow) (a store.Advisor, err error) {
	err = scanObject(row, &a.Object, &a.Name, &a.Email)
	return a, err
}

func scanInvestor(row pgx.CollectableRow) (i store.Investor, err error) {
	err = scanObject(row, &i.Object, &i.AdvisorID, &i.Type, &i.Name, &i.Email, &i.Country, &i.Reference)
	return i, err
}

func scanSession(row pgx.CollectableRow) (s store.AdviceSession, err error) {
	var completed *time.Time
	err = scanObject(row, &s.Object, &s.InvestorID, &s.Title, &s.Objective, &s.RiskProfile, &s.HorizonYears,
		&s.Recommendation, &completed)
	s.CompletedAt = orZero(completed)
	return s, err
}

// AdvisorByID finds the tenant's advisor; see store.Advisory.
func (db *DB) AdvisorByID(ctx context.Context, tenant, id string) (store.Advisor, error) {
	return one(ctx, db.pool, "advisor "+id, scanAdvisor, advisorColumns+byID, tenant, id)
}

// InvestorByID finds the tenant's investor; see store.Advisory.
func (db *DB) InvestorByID(ctx context.Context, tenant, id string) (store.Investor, error) {
	return one(ctx, db.pool, "investor "+id, scanInvestor, investorColumns+byID, tenant, id)
}

// SessionByID finds the tenant's advice session; see store.Advisory.
func (db *DB) SessionByID(ctx context.Context, tenant, id string) (store.AdviceSession, error) {
	return one(ctx, db.pool, "advice session "+id, scanSession, sessionColumns+byID, tenant, id)
}

// ListAdvisors lists the tenant's advisors; see store.Advisory.
func (db *DB) ListAdvisors(ctx context.Context, tenant string, after int64, limit int) ([]store.Advisor, error) {
	return collectListed(ctx, db.lists, "advisors", scanAdvisor, advisorColumns+page, tenant, after, limit)
}

// ListInvestors lists the tenant's investors; see store.Advisory.
func (db *DB) ListInvestors(ctx context.Context, tenant string, f store.InvestorFilter, after int64, limit int) (
	[]store.Investor, error) {
	query, args := investorColumns, []any{tenant, after, limit}
	and := func(condition, v string) {
		if v != "" {
			args = append(args, v)
			query += fmt.Sprintf(condition, len(args))
		}
	}
	and(` AND advisor = $%d`, f.AdvisorID)
	and(` AND reference = $%d AND reference <> ''`, f.Reference) // the second is the index's own
	and(` AND type = $%d`, f.Type)
	return collectListed(ctx, db.lists, "investors", scanInvestor, query+presence(f.Presence)+page, args...)
}

// ListSessions lists an investor's advice sessions; see store.Advisory.
func (db *DB) ListSessions(ctx context.Context, tenant string, f store.SessionFilter, after int64, limit int) (
	[]store.AdviceSession, error) {
	query := sessionColumns + ` AND investor = $4` + presence(f.Presence)
	if f.Completed != nil && *f.Completed {
		query += ` AND completed_at IS NOT NULL`
	} else if f.Completed != nil {
		query += ` AND completed_at IS NULL`
	}
	return collectListed(ctx, db.lists, "advice sessions", scanSession, query+page, tenant, after, limit, f.InvestorID)
}

// presence is the condition of a filter.
func presence(p store.Presence) string {
	switch p {
	case store.Present:
		return ` AND deleted_at IS NULL`
	case store.Gone:
		return ` AND deleted_at IS NOT NULL`
	}
	return ""
}

// SessionVersions lists ID and Version of an investor's advice sessions; see store.Advisory. A change will expect them,
// so no replica will do.
func (db *DB) SessionVersions(ctx context.Context, tenant, investor string, limit int) ([]store.Object, error) {
	return collect(ctx, db.pool, "versions of advice sessions",
		func(row pgx.CollectableRow) (o store.Object, err error) {
			err = row.Scan(&o.ID, &o.Version)
			return o, err
		}, `SELECT id, version FROM advice_sessions WHERE tenant = $1 AND investor = $2 ORDER BY num LIMIT $3`, tenant, investor, limit)
}

func scanReport(row pgx.CollectableRow) (r store.Report, err error) {
	r.Version = 1
	err = row.Scan(&r.Num, &r.Tenant, &r.ID, &r.SessionID, &r.CreatedAt, &r.Size, &r.Content)
	r.CreatedAt = floor(r.CreatedAt)
	r.UpdatedAt = r.CreatedAt
	return r, err
}

// ReportByID finds a report with its content; see store.Advisory.
func (db *DB) ReportByID(ctx context.Context, tenant, session, id string) (store.Report, error) {
	return one(ctx, db.pool, "report "+id, scanReport, `SELECT num, tenant, id, session, created_at, length(content), content
		FROM reports WHERE tenant = $1 AND id = $2 AND session = $3`, tenant, id, session)
}

// ListReports lists the reports of an advice session; see store.Advisory.
func (db *DB) ListReports(ctx context.Context, tenant, session string, after int64, limit int) ([]store.Report, error) {
	return collectListed(ctx, db.lists, "reports", scanReport,
		`SELECT num, tenant, id, session, created_at, length(content), NULL::bytea
		FROM reports WHERE tenant = $1 AND session = $4`+page, tenant, after, limit, session)
}

// ListExpired lists what was soft-deleted before the time; see store.Advisory. It will be removed, so no replica will
// do.
func (db *DB) ListExpired(ctx context.Context, before time.Time, limit int) (found []store.Expired, err error) {
	for _, x := range []struct {
		kind  store.Kind
		query string
	}{
		{store.KindInvestor, `SELECT tenant, id FROM investors WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2`},
		{store.KindSession, `SELECT tenant, id FROM advice_sessions WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2`},
	} {
		some, err := collect(ctx, db.pool, "expired objects", func(row pgx.CollectableRow) (store.Expired, error) {
			e := store.Expired{Kind: x.kind}
			err := row.Scan(&e.Tenant, &e.ID)
			return e, err
		}, x.query, floor(before), limit-len(found))
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

// IdempotencyKey finds what a caller's key stood for; see store.Advisory.
func (db *DB) IdempotencyKey(ctx context.Context, tenant, caller, key string) (store.IdempotencyKey, error) {
	return one(ctx, db.pool, "idempotency key", func(row pgx.CollectableRow) (store.IdempotencyKey, error) {
		k := store.IdempotencyKey{Caller: caller, Key: key}
		var request []byte
		err := row.Scan(&request, &k.ObjectID, &k.CreatedAt)
		copy(k.Request[:], request)
		k.CreatedAt = floor(k.CreatedAt)
		return k, err
	}, `SELECT request, object, created_at FROM idempotency_keys WHERE tenant = $1 AND caller = $2 AND key = $3`, tenant, caller, key)
}

// AddIdempotencyKey writes a key; see store.Advisory.
func (db *DB) AddIdempotencyKey(ctx context.Context, tenant string, k store.IdempotencyKey) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { // two statements: one would still see what it deletes
		_, err := tx.Exec(ctx, `DELETE FROM idempotency_keys WHERE created_at < $1`,
			k.CreatedAt.Add(-store.IdempotencyLife))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO idempotency_keys (tenant, caller, key, request, object, created_at)
			VALUES ($1, $2, $3, $4, $5, $6)`, tenant, k.Caller, k.Key, k.Request[:], k.ObjectID, k.CreatedAt)
		return err
	})
	return wrap(constraint(err), "write an idempotency key")
}

// DropIdempotencyKeys forgets the keys from before the time; see store.Advisory.
func (db *DB) DropIdempotencyKeys(ctx context.Context, before time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	_, err := db.pool.Exec(ctx, `DELETE FROM idempotency_keys WHERE created_at < $1`, floor(before))
	return wrap(err, "drop idempotency keys")
}
