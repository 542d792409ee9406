package ui

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
)

// platformPage is what the pages of the advisory platform show; which parts are set depends on the page.
type platformPage struct {
	Advisors  []client.Advisor
	Investors client.Page[client.Investor]
	Deleted   bool
	Investor  *client.Investor
	Sessions  []client.AdviceSession
	Session   *client.AdviceSession
	Reports   []client.Report
	Once      string // idempotency key of the page's forms: a form sent twice does its work once
	Watch     watch
	Error     string
	Typed     url.Values // what a form that was refused had in it
}

// watch is what happened last, shown beside what one does.
type watch struct {
	Events []client.EventDetail
	URL    string // of this part
}

// watched is how many events are shown of what happens.
const watched = 6

// watchEvents reads the latest events and what became of them: of an object, of all that is an owner's, of both, or of
// everything.
func (v *visit) watchEvents(object, owner string) (w watch, err error) {
	if v.caller.Role == client.RoleAdvisor {
		return w, nil // sees no events
	}
	w.URL = v.base() + "/platform/watch" + queryOf("object", object, "owner", owner)
	var queries []client.EventQuery
	if object != "" || owner == "" {
		queries = append(queries, client.EventQuery{ObjectID: object})
	}
	if owner != "" {
		queries = append(queries, client.EventQuery{ObjectOwnerID: owner})
	}
	var latest []client.StoredEvent
	for _, q := range queries {
		if q.Limit = watched; object+owner != "" {
			q.Since = searchSpan
		}
		list, err := v.c.Events(v.r.Context(), q)
		if err != nil {
			return w, err
		}
		latest = append(latest, list.Events...)
	}
	slices.SortStableFunc(latest, func(x, y client.StoredEvent) int { return y.AcceptedAt.Compare(x.AcceptedAt.Time) })
	for _, e := range latest[:min(watched, len(latest))] {
		full, err := v.c.Event(v.r.Context(), e.ID)
		if err != nil {
			return w, err
		}
		w.Events = append(w.Events, full)
	}
	return w, nil
}

func (u *UI) platformWatch(v *visit) error {
	w, err := v.watchEvents(v.r.FormValue("object"), v.r.FormValue("owner"))
	if err != nil {
		return err
	}
	return u.part(v, "platform", "watch", w)
}

func (u *UI) platform(v *visit) error { return u.showPlatform(v, platformPage{}, http.StatusOK) }

func (u *UI) showPlatform(v *visit, p platformPage, status int) error {
	ctx := v.r.Context()
	p.Once, p.Deleted = uuid.NewString(), v.r.URL.Query().Get("deleted") != ""
	advisors, err := v.c.Advisors(ctx, "")
	if err != nil && !client.IsStatus(err, http.StatusForbidden) {
		return err
	}
	p.Advisors = advisors.Items
	q := client.InvestorQuery{Deleted: p.Deleted, Cursor: v.r.URL.Query().Get("cursor"), Limit: 20}
	p.Investors, err = v.c.Investors(ctx, q)
	if err != nil {
		return err
	}
	if p.Watch, err = v.watchEvents("", ""); err != nil {
		return err
	}
	u.show(v, status, "platform", "Platform", p)
	return nil
}

// done goes on to a page after something was done, or shows the page of the form with what is wrong.
func (v *visit) done(err error, to string, again func(message string, status int) error) error {
	if refused, ok := refusal(err); ok {
		return again(sentence(refused), refused.Status)
	}
	if err != nil {
		return err
	}
	v.redirect(v.base() + "/platform" + to)
	return nil
}

func (u *UI) createAdvisor(v *visit) error {
	f := v.r.PostFormValue
	_, err := v.c.CreateAdvisor(v.r.Context(), client.NewAdvisor{Name: f("name"), Email: f("email")}, f("once"))
	return v.done(err, "", func(message string, status int) error {
		return u.showPlatform(v, platformPage{Error: message, Typed: v.r.PostForm}, status)
	})
}

func (u *UI) createInvestor(v *visit) error {
	f := v.r.PostFormValue
	in := client.NewInvestor{AdvisorID: f("advisor_id"), Type: f("investor_type"), Name: f("investor_name"),
		Email: f("email"), Country: f("country"), Reference: f("reference")}
	made, err := v.c.CreateInvestor(v.r.Context(), in, f("once"))
	return v.done(err, "/investors/"+url.PathEscape(made.ID), func(message string, status int) error {
		return u.showPlatform(v, platformPage{Error: message, Typed: v.r.PostForm}, status)
	})
}

func (u *UI) investor(v *visit) error {
	return u.showInvestor(v, v.r.PathValue("id"), platformPage{}, http.StatusOK)
}

func (u *UI) showInvestor(v *visit, id string, p platformPage, status int) error {
	ctx := v.r.Context()
	investor, err := v.c.Investor(ctx, id)
	if err != nil {
		return err
	}
	p.Investor, p.Once = &investor, uuid.NewString()
	for _, deleted := range []bool{false, true} {
		sessions, err := v.c.AdviceSessions(ctx, id, client.AdviceSessionQuery{Deleted: deleted})
		if err != nil {
			return err
		}
		p.Sessions = append(p.Sessions, sessions.Items...)
	}
	if p.Watch, err = v.watchEvents(id, id); err != nil {
		return err
	}
	u.show(v, status, "investor", investor.Name, p)
	return nil
}

// changeInvestor does what the button says that was pressed.
func (u *UI) changeInvestor(v *visit) error {
	id, f, ctx := v.r.PathValue("id"), v.r.PostFormValue, v.r.Context()
	to := "/investors/" + url.PathEscape(id)
	var err error
	switch f("do") {
	case "restore":
		_, err = v.c.RestoreInvestor(ctx, id)
	case "soft-delete":
		err = v.c.DeleteInvestor(ctx, id, false)
	case "delete":
		if err = v.c.DeleteInvestor(ctx, id, true); err == nil {
			to = ""
		}
	default:
		patch := client.Patch{}
		for _, name := range []string{"investor_name", "email", "country", "reference"} {
			if v.r.PostForm.Has(name) {
				patch[name] = f(name)
			}
		}
		_, err = v.c.UpdateInvestor(ctx, id, f("etag"), patch)
	}
	return v.done(err, to, func(message string, status int) error {
		return u.showInvestor(v, id, platformPage{Error: message, Typed: v.r.PostForm}, status)
	})
}

// sessionOf reads an advice session from a form.
func sessionOf(r *http.Request) client.NewAdviceSession {
	f := r.PostFormValue
	years, _ := strconv.Atoi(f("horizon_years")) // the rules say what is wrong with it
	return client.NewAdviceSession{Title: f("title"), Objective: f("objective"), RiskProfile: f("risk_profile"),
		HorizonYears: years, Recommendation: f("recommendation")}
}

func (u *UI) createSession(v *visit) error {
	investor := v.r.PostFormValue("investor")
	made, err := v.c.CreateAdviceSession(v.r.Context(), investor, sessionOf(v.r), v.r.PostFormValue("once"))
	return v.done(err, "/sessions/"+url.PathEscape(made.ID), func(message string, status int) error {
		return u.showInvestor(v, investor, platformPage{Error: message, Typed: v.r.PostForm}, status)
	})
}

func (u *UI) session(v *visit) error {
	return u.showSession(v, platformPage{}, http.StatusOK)
}

func (u *UI) showSession(v *visit, p platformPage, status int) error {
	ctx, id := v.r.Context(), v.r.PathValue("id")
	s, err := v.c.AdviceSession(ctx, id)
	if err != nil {
		return err
	}
	p.Session, p.Once = &s, uuid.NewString()
	if s.DeletedAt.IsZero() {
		reports, err := v.c.Reports(ctx, id, "")
		if err != nil {
			return err
		}
		p.Reports = reports.Items
	}
	investor, err := v.c.Investor(ctx, s.InvestorID)
	if err != nil {
		return err
	}
	p.Investor = &investor
	if p.Watch, err = v.watchEvents(id, ""); err != nil {
		return err
	}
	u.show(v, status, "session", s.Title, p)
	return nil
}

// changeSession does what the button says that was pressed.
func (u *UI) changeSession(v *visit) error {
	id, f, ctx := v.r.PathValue("id"), v.r.PostFormValue, v.r.Context()
	to := "/sessions/" + url.PathEscape(id)
	var err error
	switch f("do") {
	case "complete":
		_, err = v.c.CompleteAdviceSession(ctx, id)
	case "report":
		_, err = v.c.CreateReport(ctx, id, f("once"))
	case "restore":
		_, err = v.c.RestoreAdviceSession(ctx, id)
	case "soft-delete":
		err = v.c.DeleteAdviceSession(ctx, id, false)
	case "delete":
		if err = v.c.DeleteAdviceSession(ctx, id, true); err == nil {
			to = "/investors/" + url.PathEscape(f("investor"))
		}
	default:
		s := sessionOf(v.r)
		patch := client.Patch{"title": s.Title, "objective": s.Objective, "risk_profile": s.RiskProfile,
			"recommendation": s.Recommendation, "horizon_years": nil}
		if f("horizon_years") != "" {
			patch["horizon_years"] = s.HorizonYears
		}
		_, err = v.c.UpdateAdviceSession(ctx, id, f("etag"), patch)
	}
	return v.done(err, to, func(message string, status int) error {
		return u.showSession(v, platformPage{Error: message, Typed: v.r.PostForm}, status)
	})
}

// report gives a report as a file; a browser must not show foreign content as a page of this host.
func (u *UI) report(v *visit) error {
	content, err := v.c.Report(v.r.Context(), v.r.PathValue("id"), v.r.PathValue("report"))
	if err != nil {
		return err
	}
	h := v.w.Header()
	h.Set("Content-Type", "application/pdf")
	h.Set("Content-Disposition", `attachment; filename="report.pdf"`)
	h.Set("Cache-Control", "no-store")
	_, err = v.w.Write(content)
	return err
}
