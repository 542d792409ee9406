package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

const problemType = "application/problem+json"

// Problem is a client.Problem and the headers that go with it.
type Problem struct {
	client.Problem
	header http.Header
}

// Unwrap is the problem as clients see it.
func (p *Problem) Unwrap() error { return &p.Problem }

// Error is the problem's sentence.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType names the media type of problem documents.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders are the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header { return p.header }

func newProblem(status int, detail string) *Problem {
	return &Problem{Problem: client.Problem{Type: typeOf(status), Title: http.StatusText(status), Status: status,
		Detail: detail}}
}

func (p *Problem) with(header, value string) *Problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(header, value)
	return p
}

// refuse names the event that the problem is about, unless its ID could not be read.
func (p *Problem) refuse(id uuid.UUID) *Problem {
	if id != uuid.Nil {
		p.Refused = id.String()
	}
	return p
}

// errNotFound is the answer to what is unknown and to what is another tenant's: nobody can tell which.
func errNotFound(what string) error {
	return newProblem(http.StatusNotFound, "There is no such "+what+".")
}

const internalDetail = "Something went wrong here. It is in the server's log."

// statusTable is the one place that maps the domain's errors to HTTP.
var statusTable = []struct {
	err    error
	status int
	detail string
}{
	{store.ErrNotFound, http.StatusNotFound, "There is no such thing."},
	{store.ErrExists, http.StatusConflict, "It exists already."},
	{store.ErrVersion, http.StatusPreconditionFailed,
		"It was changed by another in the meantime. Read it again, then repeat your change."},
	{store.ErrFull, http.StatusInsufficientStorage,
		"The server's disk is full. Nothing of this request was written; try again later."},
	{store.ErrBroken, http.StatusServiceUnavailable, "The server cannot write and is about to stop. Try again later."},
	{store.ErrFenced, http.StatusServiceUnavailable, "The server is joining again. Try again in a moment."},
	{store.ErrAway, http.StatusServiceUnavailable,
		"The database does not answer. It is not known whether this request was taken; repeat it, with the same id if it has one."},
	{engine.ErrBusy, http.StatusServiceUnavailable,
		"There is too much of yours under way at once. Try again in a moment."},
	{engine.ErrStopping, http.StatusServiceUnavailable, "The server is stopping. Try again in a moment."},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "It took too long. Try again later."},
	{context.Canceled, http.StatusServiceUnavailable, "The request ended before its answer."},
}

// problemOf maps any error to its problem; known is false when the error has no place in the table, and its detail
// belongs into the log.
func problemOf(err error) (p *Problem, known bool) {
	if errors.As(err, &p) {
		return p, true
	}
	var vs event.Violations
	if errors.As(err, &vs) {
		return violated(vs), true
	}
	var rule *advisory.Error
	if errors.As(err, &rule) {
		return ruleBroken(rule), true
	}
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		p = newProblem(http.StatusConflict, "Event "+conflict.ID.String()+
			" was published before with other content. Give another id, or none.")
		return p.of(kindEventDiffers).refuse(conflict.ID), true
	}
	for _, row := range statusTable {
		if errors.Is(err, row.err) {
			p = newProblem(row.status, row.detail)
			if row.status == http.StatusServiceUnavailable {
				p.with("Retry-After", "1")
			}
			return p, true
		}
	}
	return newProblem(http.StatusInternalServerError, internalDetail), false
}

// overdue adds to an error that the time was over, which stores say in their own ways.
func overdue(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return errors.Join(err, ctx.Err())
}

// ruleBroken is the problem of a broken rule of the platform: almost always, that the object is not in a state for it.
func ruleBroken(e *advisory.Error) *Problem {
	status := http.StatusConflict
	switch e.Rule {
	case advisory.RuleNotYours:
		status = http.StatusForbidden
	case advisory.RuleKeyReused:
		status = http.StatusUnprocessableEntity
	}
	p := newProblem(status, e.Message)
	if p.Rule = string(e.Rule); e.Rule == advisory.RuleKeyReused {
		p.of(kindKeyReused)
	}
	return p
}

// violated is the problem of a request that broke rules: 400 when it could not be read at all, else 422.
func violated(vs event.Violations) *Problem {
	p := newProblem(http.StatusBadRequest, "The request's body cannot be read.")
	for _, v := range vs {
		if v.Field != "" {
			p = newProblem(http.StatusUnprocessableEntity,
				"The request breaks "+plural(len(vs), "a rule", "rules")+"; see errors.")
			break
		}
	}
	for _, v := range vs {
		p.Errors = append(p.Errors, client.FieldError{Location: v.Field, Message: v.Message})
	}
	return p
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return strconv.Itoa(n) + " " + many
}

// fail writes the problem of an error, and logs what the problem does not say.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	writeProblem(w, a.judge(r.Context(), r.Method+" "+r.URL.Path, err))
}

func (a *api) judge(ctx context.Context, op string, err error) *Problem {
	p, known := problemOf(err)
	if !known {
		a.log.LogAttrs(ctx, slog.LevelError, "request failed", slog.String("operation", op), slog.Any("error", err))
	}
	return p
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	b, err := json.Marshal(&p.Problem)
	if err != nil {
		b = []byte(`{}`)
	}
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	h.Set("Content-Type", problemType)
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(b, '\n'))
}

// ownProblems turns huma's error documents into ours: without the offending value, which may be a secret.
func ownProblems(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := newProblem(m.Status, m.Detail)
	switch {
	case m.Detail == "request body is required":
		p.Detail = "The request needs a body, a JSON object; /docs says of what."
	case m.Status == http.StatusRequestEntityTooLarge:
		p.Detail = "The request's body is too large."
	case m.Status >= http.StatusInternalServerError:
		p.Detail = internalDetail
		return p, nil
	case len(m.Errors) > 0:
		p.Detail = "The request breaks " + plural(len(m.Errors), "a rule", "rules") + "; see errors."
	}
	for _, e := range m.Errors {
		if e != nil {
			p.Errors = append(p.Errors, client.FieldError{Location: e.Location, Message: paramText(ctx, e)})
		}
	}
	return p, nil
}

// What is said of parameters is worded as what is said of bodies.
func init() {
	validation.MsgExpectedOneOf = "must be one of %s"
	validation.MsgExpectedMinimumNumber = "must be at least %v"
	validation.MsgExpectedMaximumNumber = "must be at most %v"
	validation.MsgExpectedMaxLength = "must have at most %d characters"
	validation.MsgExpectedBePattern = "must be %s"
}

const unknownParam = "is not a parameter of this call"

// paramText words what huma says of a parameter.
func paramText(ctx huma.Context, e *huma.ErrorDetail) string {
	switch e.Message {
	case "invalid integer":
		return "must be a whole number"
	case "invalid boolean":
		return "must be true or false"
	case "unknown query parameter":
		var known []string
		for _, p := range ctx.Operation().Parameters {
			if p.In == "query" {
				known = append(known, p.Name)
			}
		}
		return unknownParam + nameMeant(strings.TrimPrefix(e.Location, "query."), known)
	}
	return e.Message
}

// nameMeant suggests the name that was probably meant, or says which there are.
func nameMeant(name string, known []string) string {
	if meant := event.Closest(name, known); meant != "" {
		return "; did you mean " + meant + "?"
	}
	if len(known) == 0 {
		return ""
	}
	return "; there are " + strings.Join(known, ", ")
}
