package api

import (
	"context"
	"strconv"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

// The roles of the advisory platform's operations. An advisor's key is for that advisor's own investors, which the
// platform itself sees to.
var (
	advisoryReaders = []store.Role{store.Viewer, store.Admin, store.AdvisorRole}
	advisoryWriters = []store.Role{store.Admin, store.AdvisorRole}
)

const advisoryTag = "Advisory platform"

// IfMatch is how a change is bound to a version.
type IfMatch struct {
	IfMatch string `header:"If-Match" maxLength:"256" doc:"The ETag of the version that is meant; without it, whichever it is."`
}

// match is the version that the caller means.
func (m IfMatch) match() advisory.Match {
	if m.IfMatch == "" {
		return nil
	}
	return func(version int64) bool { return matches(m.IfMatch, versionTag(version)) }
}

// versionTag is the strong entity tag of a version.
func versionTag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// once identifies the request by everything that it asks.
func (i Idempotency) once(parts ...string) advisory.Once {
	if i.Key == "" {
		return advisory.Once{}
	}
	return advisory.Once{Key: i.Key, Request: i.request(parts...)}
}

// The inputs of calls on one object.
type (
	readInput struct {
		Scope
		ID      string `path:"id" maxLength:"64" doc:"Of what the path names."`
		Deleted bool   `query:"deleted" doc:"Also if it is soft-deleted."`
	}
	actInput struct {
		Scope
		IfMatch
		Idempotency
		ID string `path:"id" maxLength:"64" doc:"Of what the path names."`
	}
	patchInput struct {
		Scope
		IfMatch
		ID      string `path:"id" maxLength:"64" doc:"Of what the path names."`
		RawBody []byte
	}
	removeInput struct {
		Scope
		IfMatch
		ID        string `path:"id" maxLength:"64" doc:"Of what the path names."`
		Permanent bool   `query:"permanent" doc:"For good, soft-deleted or not."`
	}
	createInInput struct {
		Scope
		Idempotency
		ID      string `path:"id" maxLength:"64" doc:"Of what the path names."`
		RawBody []byte
	}
)

// objectOutput answers with one object.
type objectOutput[T any] struct {
	ETag     string `header:"ETag" doc:"Names this version, for If-Match."`
	Location string `header:"Location"`
	Body     T
}

func showObject[T any](view T, version int64) *objectOutput[T] {
	return &objectOutput[T]{ETag: versionTag(version), Body: view}
}

func madeObject[T any](view T, version int64, location string) *objectOutput[T] {
	return &objectOutput[T]{ETag: versionTag(version), Location: location, Body: view}
}

// listObjects reads a page and one more, and shows it. filter identifies the list.
func listObjects[O, V any](p client.Paging, filter uint32, read func(after int64, limit int) (
	[]O, error), num func(*O) int64, view func(*O) V) (*output[client.Page[V]], error) {
	from, err := decodeCursor(filter, p.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := read(from.first, p.Limit+1)
	if err != nil {
		return nil, err
	}
	out := client.Page[V]{Items: make([]V, 0, len(found))}
	if len(found) > p.Limit {
		found = found[:p.Limit]
		out.Next = encodeCursor(filter, cursor{first: num(&found[p.Limit-1])})
	}
	for i := range found {
		out.Items = append(out.Items, view(&found[i]))
	}
	return &output[client.Page[V]]{out}, nil
}

// actor is for whom the caller acts.
func actor(ctx context.Context) advisory.Actor {
	c := callerOf(ctx)
	return advisory.Actor{Tenant: c.tenant, Advisor: c.key.Advisor}
}

// presenceOf is what the parameter deleted of a list selects.
func presenceOf(deleted bool) store.Presence {
	if deleted {
		return store.Gone
	}
	return store.Present
}

// alsoDeleted is what the parameter deleted of one object allows.
func alsoDeleted(deleted bool) store.Presence {
	if deleted {
		return store.Either
	}
	return store.Present
}

// textMember reads a text property of a merge patch (RFC 7396) into to: absent stays, null is empty.
func textMember(o *object, name string, to *string) {
	if s, given, _ := take[string](o, name, "a string"); given {
		*to = s
	}
}

func (a *api) registerAdvisory() {
	a.registerAdvisors()
	a.registerInvestors()
	a.registerSessions()
	a.registerReports()
}
