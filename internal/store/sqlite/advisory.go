package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	advisorColumns  = `SELECT num, tenant, id, version, created_at, updated_at, NULL, name, email FROM advisors`
	investorColumns = `SELECT num, tenant, id, version, created_at, updated_at, deleted_at,
		advisor, type, name, email, country, reference FROM investors`
	sessionColumns = `SELECT num, tenant, id, version, created_at, updated_at, deleted_at,
		investor, title, objective, risk_profile, horizon_years, recommendation, completed_at FROM advice_sessions`
	byID = ` WHERE tenant = ? AND id = ?`

	selectAdvisor  = advisorColumns + byID
	selectInvestor = investorColumns + byID
	selectSession  = sessionColumns + byID
)

// objectDest are the destinations of an object's first seven columns; done fills the object from them.
type objectDest struct {
	created, updated int64
	deleted          sql.NullInt64
}

func (d *objectDest) columns(o *store.Object, rest ...any) []any {
	return append([]any{&o.Num, &o.Tenant, &o.ID, &o.Version, &d.created, &d.updated, &d.deleted}, rest...)
}

func (d *objectDest) done(o *store.Object) {
	o.CreatedAt, o.UpdatedAt, o.DeletedAt = millis(d.created), millis(d.updated), orZero(d.deleted)
}

// orZero is the time of a column that may be NULL.
func orZero(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return millis(ms.Int64)
}

func scanAdvisor(scan func(...any) error) (a store.Advisor, err error) {
	var d objectDest
	err = scan(d.columns(&a.Object, &a.Name, &a.Email)...)
	d.done(&a.Object)
	return a, err
}

func scanInvestor(scan func(...any) error) (i store.Investor, err error) {
	var d objectDest
	err = scan(d.columns(&i.Object, &i.AdvisorID, &i.Type, &i.Name, &i.Email, &i.Country, &i.Reference)...)
	d.done(&i.Object)
	return i, err
}

func scanSession(scan func(...any) error) (s store.AdviceSession, err error) {
	var d objectDest
	var completed sql.NullInt64
	err = scan(d.columns(&s.Object, &s.InvestorID, &s.Title, &s.Objective, &s.RiskProfile, &s.HorizonYears,
		&s.Recommendation, &completed)...)
	d.done(&s.Object)
	s.CompletedAt = orZero(completed)
	return s, err
}

// AdvisorByID finds the tenant's advisor; see store.Advisory.
func (db *DB) AdvisorByID(ctx context.Context, tenant, id string) (store.Advisor, error) {
	a, err := scanAdvisor(db.read.advisor.QueryRowContext(ctx, tenant, id).Scan)
	return a, wrap(notFound(err), "advisor "+id)
}

// InvestorByID finds the tenant's investor; see store.Advisory.
func (db *DB) InvestorByID(ctx context.Context, tenant, id string) (store.Investor, error) {
	i, err := scanInvestor(db.read.investor.QueryRowContext(ctx, tenant, id).Scan)
	return i, wrap(notFound(err), "investor "+id)
}

// SessionByID finds the tenant's advice session; see store.Advisory.
func (db *DB) SessionByID(ctx context.Context, tenant, id string) (store.AdviceSession, error) {
	s, err := scanSession(db.read.session.QueryRowContext(ctx, tenant, id).Scan)
	return s, wrap(notFound(err), "advice session "+id)
}

// list runs a query that ends in its rows' order and collects what scan makes of them.
func list[T any](ctx context.Context, db *DB, what string, scan func(func(...any) error) (
	T, error), query string, args ...any) ([]T, error) {
	var found []T
	rows, err := db.rdb.QueryContext(ctx, query, args...)
	err = each(rows, err, func() error {
		x, err := scan(rows.Scan)
		found = append(found, x)
		return err
	})
	if err != nil {
		return nil, wrap(err, what)
	}
	return found, nil
}

const page = ` AND num > ? ORDER BY num LIMIT ?`

// ListAdvisors lists the tenant's advisors; see store.Advisory.
func (db *DB) ListAdvisors(ctx context.Context, tenant string, after int64, limit int) ([]store.Advisor, error) {
	return list(ctx, db, "advisors", scanAdvisor, advisorColumns+` WHERE tenant = ?`+page, tenant, after, limit)
}

// ListInvestors lists the tenant's investors; see store.Advisory.
func (db *DB) ListInvestors(ctx context.Context, tenant string, f store.InvestorFilter, after int64, limit int) (
	[]store.Investor, error) {
	query, args := investorColumns+` WHERE tenant = ?`, []any{tenant}
	if f.AdvisorID != "" {
		query, args = query+` AND advisor = ?`, append(args, f.AdvisorID)
	}
	if f.Reference != "" {
		query, args = query+` AND reference = ? AND reference <> ''`, append(args, f.Reference)
	}
	if f.Type != "" {
		query, args = query+` AND type = ?`, append(args, f.Type)
	}
	return list(ctx, db, "investors", scanInvestor, query+presence(f.Presence)+page, append(args, after, limit)...)
}

// ListSessions lists an investor's advice sessions; see store.Advisory.
func (db *DB) ListSessions(ctx context.Context, tenant string, f store.SessionFilter, after int64, limit int) (
	[]store.AdviceSession, error) {
	query := sessionColumns + ` WHERE tenant = ? AND investor = ?` + presence(f.Presence)
	if f.Completed != nil && *f.Completed {
		query += ` AND completed_at IS NOT NULL`
	} else if f.Completed != nil {
		query += ` AND completed_at IS NULL`
	}
	return list(ctx, db, "advice sessions", scanSession, query+page, tenant, f.InvestorID, after, limit)
}

// SessionVersions lists ID and Version of an investor's advice sessions; see store.Advisory.
func (db *DB) SessionVersions(ctx context.Context, tenant, investor string, limit int) ([]store.Object, error) {
	return list(ctx, db, "versions of advice sessions", func(scan func(...any) error) (o store.Object, err error) {
		err = scan(&o.ID, &o.Version)
		return o, err
	}, `SELECT id, version FROM advice_sessions WHERE tenant = ? AND investor = ? ORDER BY num LIMIT ?`, tenant, investor, limit)
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

func scanReport(scan func(...any) error) (r store.Report, err error) {
	var created int64
	r.Version = 1
	err = scan(&r.Num, &r.Tenant, &r.ID, &r.SessionID, &created, &r.Size, &r.Content)
	r.CreatedAt = millis(created)
	r.UpdatedAt = r.CreatedAt
	return r, err
}

// ReportByID finds a report with its content; see store.Advisory.
func (db *DB) ReportByID(ctx context.Context, tenant, session, id string) (store.Report, error) {
	r, err := scanReport(db.rdb.QueryRowContext(ctx, `SELECT num, tenant, id, session, created_at, length(content), content
		FROM reports WHERE tenant = ? AND id = ? AND session = ?`, tenant, id, session).Scan)
	return r, wrap(notFound(err), "report "+id)
}

// ListReports lists the reports of an advice session; see store.Advisory.
func (db *DB) ListReports(ctx context.Context, tenant, session string, after int64, limit int) ([]store.Report, error) {
	return list(ctx, db, "reports", scanReport, `SELECT num, tenant, id, session, created_at, length(content), NULL
		FROM reports WHERE tenant = ? AND session = ?`+page, tenant, session, after, limit)
}

// ListExpired lists what was soft-deleted before the time; see store.Advisory.
func (db *DB) ListExpired(ctx context.Context, before time.Time, limit int) (found []store.Expired, err error) {
	for _, x := range []struct {
		kind  store.Kind
		table string
	}{{store.KindInvestor, "investors"}, {store.KindSession, "advice_sessions"}} {
		if limit == len(found) {
			return found, nil
		}
		some, err := list(ctx, db, "expired objects", func(scan func(...any) error) (store.Expired, error) {
			e := store.Expired{Kind: x.kind}
			err := scan(&e.Tenant, &e.ID)
			return e, err
		}, `SELECT tenant, id FROM `+x.table+` WHERE deleted_at < ? ORDER BY deleted_at LIMIT ?`, before.UnixMilli(), limit-len(found))
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

// IdempotencyKey finds what a caller's key stood for; see store.Advisory.
func (db *DB) IdempotencyKey(ctx context.Context, tenant, caller, key string) (store.IdempotencyKey, error) {
	k := store.IdempotencyKey{Caller: caller, Key: key}
	var request []byte
	var created int64
	err := db.rdb.QueryRowContext(ctx, `SELECT request, object, created_at FROM idempotency_keys
		WHERE tenant = ? AND caller = ? AND key = ?`, tenant, caller, key).Scan(&request, &k.ObjectID, &created)
	copy(k.Request[:], request)
	k.CreatedAt = millis(created)
	return k, wrap(notFound(err), "idempotency key")
}

// AddIdempotencyKey writes a key; see store.Advisory.
func (db *DB) AddIdempotencyKey(ctx context.Context, tenant string, k store.IdempotencyKey) error {
	return db.change(ctx, "write an idempotency key", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM idempotency_keys WHERE created_at < ?`,
			k.CreatedAt.Add(-store.IdempotencyLife).UnixMilli())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, insertKey, tenant, k.Caller, k.Key, k.Request[:], k.ObjectID,
			k.CreatedAt.UnixMilli())
		return constraint(err)
	})
}

// DropIdempotencyKeys forgets the keys from before the time; see store.Advisory.
func (db *DB) DropIdempotencyKeys(ctx context.Context, before time.Time) error {
	return db.change(ctx, "drop idempotency keys", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM idempotency_keys WHERE created_at < ?`, before.UnixMilli())
		return err
	})
}
