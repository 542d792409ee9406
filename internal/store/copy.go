package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Dump reads and writes whole tables, for copies from store to store. It is for one goroutine, and while it is open
// nothing else uses the store.
type Dump interface {
	// Count tells how many rows the table has.
	Count(ctx context.Context, t *Table) (int64, error)
	// Rows reads the scope's rows in the order of the key: those after the key, unless it is nil, and no more than
	// limit, unless it is 0.
	Rows(ctx context.Context, t *Table, in Scope, after Row, limit int64) iter.Seq2[Row, error]
	// Put writes rows in one transaction. Tables are written in the order of Tables.
	Put(ctx context.Context, t *Table, rows []Row) error
	// Finish makes what a store derives from its rows; called after all rows were put, any number of times.
	Finish(ctx context.Context) error
	// Close ends it. An error says that something else may have used the store meanwhile.
	Close() error
}

// Row has a value for each column of its table: int64, string, []byte or nil. All stores give the same for the same:
// times are Unix milliseconds, truths 0 and 1, UUIDs their bytes, lists of numbers JSON.
type Row []any

// Append appends the row to b so that no two different rows look the same.
func (r Row) Append(b []byte) []byte {
	for _, v := range r {
		switch x := v.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(x))
		case string:
			b = append(binary.BigEndian.AppendUint64(append(b, 's'), uint64(len(x))), x...)
		case []byte:
			b = append(binary.BigEndian.AppendUint64(append(b, 'b'), uint64(len(x))), x...)
		default:
			panic(fmt.Sprintf("a row has a %T", v))
		}
	}
	return b
}

// Per says what a table is read by.
type Per int

// What tables are read by.
const (
	PerStore Per = iota
	PerTenant
	PerWebhook
)

// Scope is the part of a table that is read.
type Scope struct {
	Tenant  string // PerTenant and PerWebhook
	Webhook int64  // PerWebhook
}

// Form is what a column holds.
type Form string

// The forms.
const (
	FormInt  Form = "int"
	FormText Form = "text"
	FormBlob Form = "blob"
	FormTime Form = "time"
	FormBool Form = "bool"
	FormUUID Form = "uuid"
	FormNums Form = "nums" // a list of numbers
	FormJSON Form = "json"
)

// Column is one of a Table.
type Column struct {
	Name string
	Form Form
}

// Table is one that is copied.
type Table struct {
	Name    string
	Per     Per
	Key     []Column // orders the rows of a scope
	Columns []Column
	Only    string // SQL of the rows that are copied; empty: all
}

func (t Table) only(where string) Table {
	t.Only = where
	return t
}

// Tables are all that are copied, each after those that its rows refer to. Waiting has, of a store that keeps what it
// works on in memory only, a row for each delivery that has neither a waiting row nor an outcome.
var Tables = []Table{
	tableOf("tenants", PerStore, "id", TenantFields.columns()),
	table("advisors", PerTenant, "num", `tenant text, num int, id text, version int, name text, email text,
		created_at time, updated_at time`),
	table("investors", PerTenant, "num", `tenant text, num int, id text, version int, advisor text, type text, name text,
		email text, country text, reference text, created_at time, updated_at time, deleted_at time`),
	table("advice_sessions", PerTenant, "num", `tenant text, num int, id text, version int, investor text, title text,
		objective text, risk_profile text, horizon_years int, recommendation text, created_at time, updated_at time,
		completed_at time, deleted_at time`),
	table("reports", PerTenant, "num", "tenant text, num int, id text, session text, created_at time, content blob"),
	table("idempotency_keys", PerTenant, "caller, key", `tenant text, caller text, key text, request blob, object text,
		created_at time`),
	table("api_keys", PerStore, "id", `id text, tenant text, role text, advisor text, name text, hash blob,
		created_at time, maker text, ends_at time, networks text, used_at time, used_from text`).only("kind = ''"), // those of limited life end with the move
	tableOf("webhooks", PerTenant, "num", WebhookFields.columns()),
	table("events", PerTenant, "seq", `tenant text, seq int, id uuid, type text, object_id text, object_owner_id text,
		owner_id text, time time, webhooks nums, data text`),
	table("outcomes", PerWebhook, "event, attempt", `tenant text, webhook int, event int, attempt int, kind text, at time,
		duration int, sent bool, status int, next_at time, class text, key_id text, response blob, timings blob`),
	table("rollups", PerTenant, "webhook, span, start", `tenant text, webhook int, span int, start time, delivered int, retried int,
		exhausted int, cancelled int, h0 int, h1 int, h2 int, h3 int, h4 int, h5 int, h6 int, h7 int, h8 int, h9 int, h10 int,
		h11 int, h12 int, h13 int, h14 int, h15 int, h16 int, h17 int, h18 int, h19 int`),
	table("waiting", PerWebhook, "event", "tenant text, webhook int, event int, attempts int, due_at time"),
}

func table(name string, per Per, key, columns string) Table {
	var list []Column
	for _, c := range strings.Split(columns, ",") {
		f := strings.Fields(c)
		list = append(list, Column{f[0], Form(f[1])})
	}
	return tableOf(name, per, key, list)
}

func tableOf(name string, per Per, key string, columns []Column) Table {
	t := Table{Name: name, Per: per, Columns: columns}
	for _, k := range strings.Split(key, ", ") {
		t.Key = append(t.Key, t.Columns[t.Index(k)])
	}
	return t
}

// Index is where a column is in the table's rows; -1: nowhere.
func (t *Table) Index(column string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == column })
}

// KeyOf is the row's key.
func (t *Table) KeyOf(r Row) Row {
	key := make(Row, len(t.Key))
	for i, c := range t.Key {
		key[i] = r[t.Index(c.Name)]
	}
	return key
}
