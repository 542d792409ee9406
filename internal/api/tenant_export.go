package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/store"
)

const (
	exportPath = "/v1/tenants/{id}/export"
	exportTime = time.Minute // for a reader to take what was sent
	exportPage = 200         // objects read at once: the most that a list gives
)

// registerExport documents the export and puts it on the mux: its answer is a stream.
func (a *api) registerExport() {
	a.document(operation{
		id: "export-tenant", method: http.MethodGet, path: exportPath, tag: "Tenants and keys",
		summary: "Export all that a tenant has",
		text: "JSON lines, each an object with kind and value: the tenant, its keys, webhooks, advisors, investors, " +
			"advice sessions, reports, events, and deliveries with all attempts, in the forms of this API; " +
			"secrets are not in it. " +
			"The last line's kind is end, with the number of each; a file without it is cut off.",
		status: http.StatusOK, errors: []int{http.StatusNotFound},
	}, client.Exported{})
	a.documentLines(exportPath, client.Exported{})
	a.mux.HandleFunc("GET "+exportPath, func(w http.ResponseWriter, r *http.Request) {
		if err := a.exportTenant(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

// exportTenant streams. An error says that nothing was written yet; what goes wrong later cuts the answer off.
func (a *api) exportTenant(w http.ResponseWriter, r *http.Request) error {
	_, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	rc := http.NewResponseController(w)
	out := json.NewEncoder(w)
	_ = rc.SetReadDeadline(time.Time{})
	begun := false
	for x, err := range a.Session(key, "", r.RemoteAddr).ExportTenant(r.Context(), r.PathValue("id")) {
		if err != nil && !begun {
			return err
		}
		if err == nil {
			if !begun {
				w.Header().Set("Content-Type", "application/x-ndjson")
				begun = true
			}
			_ = rc.SetWriteDeadline(time.Now().Add(exportTime))
			err = out.Encode(x)
		}
		if err != nil {
			a.log.WarnContext(r.Context(), "an export was cut off", "tenant", r.PathValue("id"), "error", err)
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}

// ExportTenant gives all that a tenant has, piece by piece, each read as any caller would read it.
func (s *session) ExportTenant(ctx context.Context, id string) iter.Seq2[client.Exported, error] {
	return func(yield func(client.Exported, error) bool) {
		c, err := s.caller(ctx, false)
		if err == nil && !c.operator() {
			err = errForbidden(c.key.Role, operators)
		}
		if err == nil {
			t, findErr := s.a.store.TenantByID(ctx, id)
			if err = missing("tenant", findErr); findErr == nil {
				x := &export{ctx: ctx, from: &session{s.a, s.key, id, s.remote}, counts: map[string]int{}}
				x.yield = func(e client.Exported) bool { return yield(e, nil) }
				err = x.all(viewTenant(t))
			}
		}
		if err != nil && !errors.Is(err, errLeft) {
			yield(client.Exported{}, s.a.judge(ctx, "export-tenant", err))
		}
	}
}

// errLeft says that whoever reads an export wants no more.
var errLeft = errors.New("the reader of an export left")

// export is one that is under way.
type export struct {
	ctx    context.Context
	from   *session // of the tenant
	yield  func(client.Exported) bool
	counts map[string]int
}

func (x *export) give(kind string, value any) error {
	select {
	case <-x.from.a.stopping:
		return engine.ErrStopping
	default:
	}
	raw, err := json.Marshal(value)
	if err == nil && !x.yield(client.Exported{Kind: kind, Value: raw}) {
		err = errLeft
	}
	x.counts[kind]++
	return err
}

// exportPages gives the items of all pages; each, if given, gives what there is to one.
func exportPages[T any](x *export, kind string, read func(cursor string) (list []T, next string, err error),
	each func(T) error) error {
	for cursor := ""; ; {
		list, next, err := read(cursor)
		if err != nil {
			return err
		}
		for _, item := range list {
			if each != nil {
				err = each(item)
			} else {
				err = x.give(kind, item)
			}
			if err != nil {
				return err
			}
		}
		if cursor = next; next == "" {
			return nil
		}
	}
}

// pageOf takes a page apart.
func pageOf[T any](p client.Page[T], err error) ([]T, string, error) { return p.Items, p.Next, err }

func (x *export) all(t client.Tenant) error {
	err := x.give("tenant", t)
	for _, part := range []func() error{x.access, x.platform, x.records} {
		if err == nil {
			err = part()
		}
	}
	if err != nil {
		return err
	}
	raw, err := json.Marshal(x.counts)
	if err == nil && !x.yield(client.Exported{Kind: client.ExportEnd, Value: raw}) {
		err = errLeft
	}
	return err
}

// access gives keys and webhooks.
func (x *export) access() error {
	err := exportPages(x, "api_key", func(cursor string) ([]client.APIKey, string, error) {
		return pageOf(x.from.APIKeys(x.ctx, client.KindAPIKey, cursor))
	}, nil)
	if err != nil {
		return err
	}
	return exportPages(x, "webhook", func(cursor string) ([]client.Webhook, string, error) {
		p, err := x.from.Webhooks(x.ctx, client.WebhookQuery{Cursor: cursor, Limit: exportPage})
		return p.Webhooks, p.Next, err
	}, nil)
}

// records gives events, and deliveries with their attempts, newest first.
func (x *export) records() error {
	err := exportPages(x, "event", func(cursor string) ([]client.StoredEvent, string, error) {
		p, err := x.from.Events(x.ctx, client.EventQuery{Cursor: cursor, Limit: exportPage})
		return p.Events, p.Next, err
	}, nil)
	if err != nil {
		return err
	}
	return exportPages(x, "delivery", func(cursor string) ([]client.Delivery, string, error) {
		p, err := x.from.Deliveries(x.ctx, client.DeliveryQuery{Cursor: cursor, Limit: exportPage})
		return p.Deliveries, p.Next, err
	}, func(d client.Delivery) error {
		all, err := x.from.Delivery(x.ctx, d.ID)
		if err != nil {
			return err
		}
		return x.give("delivery", all)
	})
}

// exportStored gives each that the store lists, which is by number.
func exportStored[T any](list func(after int64) ([]T, error), num func(*T) int64, each func(*T) error) error {
	for after := int64(0); ; {
		some, err := list(after)
		if err != nil || len(some) == 0 {
			return err
		}
		for i := range some {
			if err := each(&some[i]); err != nil {
				return err
			}
			after = num(&some[i])
		}
	}
}

// platform gives the advisory platform's objects, the soft-deleted ones too, below which a call would list nothing.
func (x *export) platform() error {
	s, tenant := x.from.a.store, x.from.tenant
	err := exportStored(func(after int64) ([]store.Advisor, error) {
		return s.ListAdvisors(x.ctx, tenant, after, exportPage)
	}, func(a *store.Advisor) int64 { return a.Num }, func(a *store.Advisor) error {
		return x.give("advisor", viewAdvisor(a))
	})
	if err != nil {
		return err
	}
	return exportStored(func(after int64) ([]store.Investor, error) {
		return s.ListInvestors(x.ctx, tenant, store.InvestorFilter{Presence: store.Either}, after, exportPage)
	}, func(i *store.Investor) int64 { return i.Num }, func(i *store.Investor) error {
		if err := x.give("investor", viewInvestor(i)); err != nil {
			return err
		}
		return exportStored(func(after int64) ([]store.AdviceSession, error) {
			f := store.SessionFilter{InvestorID: i.ID, Presence: store.Either}
			return s.ListSessions(x.ctx, tenant, f, after, exportPage)
		}, func(a *store.AdviceSession) int64 { return a.Num }, x.session)
	})
}

func (x *export) session(a *store.AdviceSession) error {
	if err := x.give("advice_session", viewSession(a)); err != nil {
		return err
	}
	s, tenant := x.from.a.store, x.from.tenant
	return exportStored(func(after int64) ([]store.Report, error) {
		return s.ListReports(x.ctx, tenant, a.ID, after, exportPage)
	}, func(r *store.Report) int64 { return r.Num }, func(r *store.Report) error {
		full, err := s.ReportByID(x.ctx, tenant, a.ID, r.ID)
		if err != nil {
			return err
		}
		return x.give("report", client.ReportFile{Report: viewReport(&full), Content: full.Content})
	})
}
