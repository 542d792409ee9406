package store

import (
	"strings"
	"time"

	"github.com/quantfolio/qhook/internal/webhook"
)

// Use is what is done with a column of a configuration table.
type Use int

// The uses.
const (
	Written Use = iota // at the insert, and by every update
	Fixed              // at the insert only
	Counted            // 1 at the insert, one more by every update
	Made               // by the database
)

// Field is one column of a configuration table, and where a row R has it: the stores' statements, the values that they
// are given, what rows are read into, and the copy from store to store all come from it.
type Field[R any] struct {
	Name string
	Form Form
	Use  Use
	Of   func(*R) any // a *int64, *string, *bool, *[]byte, *time.Time or OrNull
}

// OrNull is a time whose zero is NULL.
type OrNull struct{ *time.Time }

// Fields are the columns of a table, in the order in which they are read.
type Fields[R any] []Field[R]

// Names are the columns, with commas between.
func (f Fields[R]) Names() string {
	names := make([]string, len(f))
	for i := range f {
		names[i] = f[i].Name
	}
	return strings.Join(names, ", ")
}

// Targets are what the columns of a row are read into; wrap has a time be read in the store's own way.
func (f Fields[R]) Targets(r *R, wrap func(*time.Time) any) []any {
	to := make([]any, len(f))
	for i := range f {
		to[i] = f[i].Of(r)
		switch t := to[i].(type) {
		case *time.Time:
			to[i] = wrap(t)
		case OrNull:
			to[i] = wrap(t.Time)
		}
	}
	return to
}

// Insert is an INSERT of the row into the table, and its values; hold gives the placeholder of the n-th value, from 1
// on.
func (f Fields[R]) Insert(table string, r *R, hold func(n int) string, when func(time.Time) any) (
	query string, args []any) {
	var names, holds []string
	for i := range f {
		if f[i].Use != Made {
			names = append(names, f[i].Name)
			args = append(args, valueOf(f[i].Of(r), when))
			holds = append(holds, hold(len(args)))
		}
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" +
		strings.Join(holds, ", ") + ")", args
}

// Update is the UPDATE of the row in the table, without its WHERE, and its values; likewise.
func (f Fields[R]) Update(table string, r *R, hold func(n int) string, when func(time.Time) any) (
	query string, args []any) {
	var sets []string
	for i := range f {
		switch f[i].Use {
		case Written:
			args = append(args, valueOf(f[i].Of(r), when))
			sets = append(sets, f[i].Name+" = "+hold(len(args)))
		case Counted:
			sets = append(sets, f[i].Name+" = "+f[i].Name+" + 1")
		}
	}
	return "UPDATE " + table + " SET " + strings.Join(sets, ", "), args
}

// valueOf is what a pointer leads to; when has a time in the store's own form.
func valueOf(p any, when func(time.Time) any) any {
	switch x := p.(type) {
	case *int64:
		return *x
	case *string:
		return *x
	case *bool:
		return *x
	case *[]byte:
		return *x
	case *time.Time:
		return when(*x)
	case OrNull:
		if x.IsZero() {
			return nil
		}
		return when(*x.Time)
	}
	return p // no Field has another; the driver says so
}

// columns are the fields as columns of a copied table.
func (f Fields[R]) columns() []Column {
	list := make([]Column, len(f))
	for i := range f {
		list[i] = Column{f[i].Name, f[i].Form}
	}
	return list
}

// WebhookRecord is a webhook as a row: the webhook, and its columns that are not written as they are.
type WebhookRecord struct {
	W webhook.Webhook
	R WebhookRow
}

// WebhookFields are the columns of webhooks.
var WebhookFields = Fields[WebhookRecord]{
	{"num", FormInt, Made, func(x *WebhookRecord) any { return &x.W.Num }},
	{"tenant", FormText, Fixed, func(x *WebhookRecord) any { return &x.W.Tenant }},
	{"id", FormText, Fixed, func(x *WebhookRecord) any { return &x.W.ID }},
	{"url", FormText, Written, func(x *WebhookRecord) any { return &x.W.URL }},
	{"method", FormText, Written, func(x *WebhookRecord) any { return (*string)(&x.W.Method) }},
	{"event_types", FormJSON, Written, func(x *WebhookRecord) any { return &x.R.EventTypes }},
	{"owner_id", FormText, Written, func(x *WebhookRecord) any { return &x.W.OwnerID }},
	{"auth", FormJSON, Written, func(x *WebhookRecord) any { return &x.R.Auth }},
	{"auth_sealed", FormBlob, Written, func(x *WebhookRecord) any { return &x.R.AuthSealed }},
	{"headers", FormJSON, Written, func(x *WebhookRecord) any { return &x.R.Headers }},
	{"headers_sealed", FormBlob, Written, func(x *WebhookRecord) any { return &x.R.HeadersSealed }},
	{"signing_keys", FormJSON, Written, func(x *WebhookRecord) any { return &x.R.SigningKeys }},
	{"signing_keys_sealed", FormBlob, Written, func(x *WebhookRecord) any { return &x.R.SigningKeysSealed }},
	{"description", FormText, Written, func(x *WebhookRecord) any { return &x.W.Description }},
	{"enabled", FormBool, Written, func(x *WebhookRecord) any { return &x.W.Enabled }},
	{"disabled_reason", FormText, Written, func(x *WebhookRecord) any { return &x.W.DisabledReason }},
	{"timeout", FormInt, Written, func(x *WebhookRecord) any { return (*int64)(&x.W.Timeout) }},
	{"retry_schedule", FormJSON, Written, func(x *WebhookRecord) any { return &x.R.RetrySchedule }},
	{"version", FormInt, Counted, func(x *WebhookRecord) any { return &x.W.Version }},
	{"created_at", FormTime, Fixed, func(x *WebhookRecord) any { return &x.W.CreatedAt }},
	{"updated_at", FormTime, Written, func(x *WebhookRecord) any { return &x.W.UpdatedAt }},
	{"deleted_at", FormTime, Written, func(x *WebhookRecord) any { return OrNull{&x.W.DeletedAt} }},
	{"held_until", FormTime, Written, func(x *WebhookRecord) any { return OrNull{&x.W.HeldUntil} }},
}

// TenantFields are the columns of tenants.
var TenantFields = Fields[Tenant]{
	{"id", FormText, Fixed, func(t *Tenant) any { return &t.ID }},
	{"name", FormText, Written, func(t *Tenant) any { return &t.Name }},
	{"created_at", FormTime, Fixed, func(t *Tenant) any { return &t.CreatedAt }},
	{"consent", FormBool, Written, func(t *Tenant) any { return &t.Consent }},
	{"ended_at", FormTime, Written, func(t *Tenant) any { return OrNull{&t.EndedAt} }},
	{"delete_at", FormTime, Written, func(t *Tenant) any { return OrNull{&t.DeleteAt} }},
}
