package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}

// collect runs a query of a request and collects what scan makes of its rows.
func collect[T any](ctx context.Context, q querier, what string, scan pgx.RowToFunc[T], query string, args ...any) (
	[]T, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	return collectAll(ctx, q, what, scan, query, args...)
}

// collectAll is collect for what takes as long as it takes.
func collectAll[T any](ctx context.Context, q querier, what string, scan pgx.RowToFunc[T], query string,
	args ...any) ([]T, error) {
	rows, _ := q.Query(ctx, query, args...) // CollectRows says what is wrong
	found, err := pgx.CollectRows(rows, scan)
	if code(err) == notText { // what is looked for
		return nil, nil
	}
	if err != nil {
		return nil, wrap(err, what)
	}
	return found, nil
}

// one runs a query of a request and returns what scan makes of its row. Errors: store.ErrNotFound.
func one[T any](ctx context.Context, q querier, what string, scan pgx.RowToFunc[T], query string, args ...any) (
	T, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	rows, _ := q.Query(ctx, query, args...) // CollectOneRow says what is wrong
	found, err := pgx.CollectOneRow(rows, scan)
	if err != nil {
		var none T
		return none, wrap(notFound(err), what)
	}
	return found, nil
}

// execute runs a statement of a request.
func execute(ctx context.Context, pool *pgxpool.Pool, query string, args ...any) (pgconn.CommandTag, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	return pool.Exec(ctx, query, args...)
}

// orZero is the time of a column that may be NULL.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return floor(*t)
}
