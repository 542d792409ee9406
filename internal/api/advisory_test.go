package api

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

// The callers of a firm besides those of a rig.
const (
	ann = "ann" // an advisor
	bob = "bob" // another advisor of the same firm
)

// firm is a rig whose tenant default has two advisors with API keys.
type firm struct {
	*rig
	ids map[string]string // of the advisors
}

func newFirm(t testing.TB) *firm {
	t.Helper()
	f := &firm{newRig(t), map[string]string{}}
	for _, name := range []string{ann, bob} {
		f.ids[name] = f.must(201, admin, "POST", "/v1/advisors", `{"name":"`+name+`"}`).str("id")
		f.keys[name] = f.must(201, admin, "POST", "/v1/api-keys",
			`{"role":"advisor","advisor_id":"`+f.ids[name]+`"}`).str("key")
	}
	return f
}

const jane = `{"investor_type":"person","investor_name":"Jane"}`

// What follows makes an object of ann's and is its path.

func (f *firm) advisor() string {
	return f.must(201, admin, "POST", "/v1/advisors", `{"name":"new"}`).header.Get("Location")
}

func (f *firm) investor() string {
	return f.must(201, ann, "POST", "/v1/investors", jane).header.Get("Location")
}

func (f *firm) session() string {
	return f.must(201, ann, "POST", f.investor()+"/advice-sessions", `{"title":"Jane's plan"}`).header.Get("Location")
}

func (f *firm) completed() string {
	path := f.session()
	f.must(200, ann, "POST", path+"/complete", "")
	return path
}

func (f *firm) report() string {
	return f.must(201, ann, "POST", f.completed()+"/reports", "").header.Get("Location")
}

func (f *firm) deleted(path string) string {
	f.must(204, ann, "DELETE", path, "")
	return path
}

// events are the events of the tenant default, oldest first.
func (f *firm) events() []map[string]any {
	list := f.must(200, viewer, "GET", "/v1/events?limit=200", "").items()
	slices.Reverse(list)
	return list
}

func TestAdvisoryLife(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	i := f.must(201, ann, "POST", "/v1/investors",
		`{"investor_type":"person","investor_name":" Jane Doe ","email":"jane@example.com","country":"CH","reference":"C-1"}`)
	investor, iid := i.header.Get("Location"), i.str("id")
	if investor != "/v1/investors/"+iid || i.header.Get("ETag") != `"1"` || i.str("investor_name") != "Jane Doe" ||
		i.str("advisor_id") != f.ids[ann] {
		t.Errorf("POST /v1/investors = %v %s, want a trimmed name, the advisor, Location and ETag", i.header, i.body)
	}
	if got := f.must(200, viewer, "GET", investor, ""); got.body != i.body || got.header.Get("ETag") != `"1"` ||
		got.header.Values("Location") != nil {
		t.Errorf("GET %s = %v %s, want as created %s", investor, got.header, got.body, i.body)
	}
	p := f.must(200, admin, "PATCH", investor, `{"investor_name":"Jane Roe","email":null}`)
	if _, has := p.json["email"]; has || p.str("investor_name") != "Jane Roe" || p.str("country") != "CH" ||
		p.header.Get("ETag") != `"2"` {
		t.Errorf("PATCH %s = %s %s, want a new name, no email, the same country and \"2\"", investor,
			p.header.Get("ETag"), p.body)
	}
	if same := f.must(200, admin, "PATCH", investor, `{"investor_name":"Jane Roe"}`); same.body != p.body ||
		same.header.Get("ETag") != `"2"` {
		t.Errorf("PATCH %s without a difference = %s, want %s", investor, same.body, p.body)
	}

	s := f.must(201, ann, "POST", investor+"/advice-sessions", `{"title":"Pension","horizon_years":10}`)
	session, sid := s.header.Get("Location"), s.str("id")
	if session != "/v1/advice-sessions/"+sid || s.header.Get("ETag") != `"1"` || s.str("status") != "open" ||
		s.str("investor_id") != iid {
		t.Errorf("POST advice-sessions = %v %s, want an open one with Location and ETag", s.header, s.body)
	}
	f.must(200, ann, "PATCH", session, `{"objective":"Sleep\nwell","risk_profile":"balanced","recommendation":"Bonds","horizon_years":null}`)
	c := f.must(200, ann, "POST", session+"/complete", "")
	if c.str("status") != "completed" || c.str("completed_at") == "" || c.str("risk_profile") != "balanced" ||
		c.json["horizon_years"] != nil || c.header.Get("ETag") != `"3"` {
		t.Errorf("complete = %s %s, want completed, \"3\", no horizon", c.header.Get("ETag"), c.body)
	}
	rep := f.must(201, ann, "POST", session+"/reports", "")
	if rep.header.Get("Location") != rep.str("url") || rep.str("content_type") != "application/pdf" ||
		rep.str("advice_session_id") != sid {
		t.Errorf("POST reports = %v %s, want Location as url and a PDF", rep.header, rep.body)
	}
	pdf := f.must(200, viewer, "GET", rep.str("url"), "")
	if ct, cd := pdf.header.Get("Content-Type"), pdf.header.Get("Content-Disposition"); ct != "application/pdf" ||
		cd != `attachment; filename="report-`+rep.str("id")+`.pdf"` {
		t.Errorf("GET report is %s, %s, want a PDF to download", ct, cd)
	}
	if !strings.HasPrefix(pdf.body, "%PDF-") || rep.json["size"] != float64(len(pdf.body)) {
		t.Errorf("GET report = %d bytes that begin with %.8q, want %v of a PDF", len(pdf.body), pdf.body,
			rep.json["size"])
	}

	f.must(204, ann, "DELETE", session, "")
	f.must(404, ann, "GET", session, "")
	f.must(404, ann, "GET", session+"/reports", "")
	f.must(404, ann, "GET", rep.str("url"), "")
	if got := f.must(200, ann, "GET", session+"?deleted=true", ""); got.str("deleted_at") == "" {
		t.Errorf("GET %s?deleted=true = %s, want its deleted_at", session, got.body)
	}
	if got := f.must(200, ann, "POST", session+"/restore", ""); got.str("deleted_at") != "" ||
		got.str("status") != "completed" {
		t.Errorf("restore = %s, want it as before", got.body)
	}
	f.must(204, admin, "DELETE", investor, "")
	for _, path := range []string{investor, session, rep.str("url"), investor + "/advice-sessions"} {
		f.must(404, ann, "GET", path, "")
	}
	f.must(200, ann, "GET", session+"?deleted=true", "")
	f.must(200, ann, "POST", investor+"/restore", "")
	f.must(200, ann, "GET", rep.str("url"), "")
	f.must(204, ann, "DELETE", investor+"?permanent=true", "")
	for _, path := range []string{investor + "?deleted=true", session + "?deleted=true", rep.str("url")} {
		f.must(404, admin, "GET", path, "")
	}
	f.must(204, admin, "DELETE", "/v1/advisors/"+f.ids[ann], "") // who has no investors any more
}

func TestAdvisoryEvents(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	session := f.completed()
	investor := "/v1/investors/" + f.must(200, ann, "GET", session, "").str("investor_id")
	f.must(200, admin, "PATCH", investor, `{"reference":"r","country":"CH"}`)
	report := f.must(201, admin, "POST", session+"/reports", "").str("id")
	f.must(200, admin, "POST", f.deleted(session)+"/restore", "")
	f.must(200, admin, "POST", f.deleted(investor)+"/restore", "")
	f.must(204, admin, "DELETE", investor+"?permanent=true", "")
	iid, sid := investor[len("/v1/investors/"):], session[len("/v1/advice-sessions/"):]
	own := map[string]string{iid: f.ids[ann], sid: iid}
	want := []struct{ kind, object, owner, data string }{
		{"created", iid, f.ids[ann], `{"investor_type":"person","investor_name":"Jane"}`},
		{"advice.created", sid, f.ids[ann], `{"title":"Jane's plan"}`},
		{"advice.completed", sid, f.ids[ann], `{"title":"Jane's plan"}`},
		{"updated", iid, "default", `{"changed":["country","reference"]}`},
		{"advice.report.created", sid, "default", `{"report_id":"` + report + `","content_type":"application/pdf"}`},
		{"advice.soft_deleted", sid, f.ids[ann], `{}`},
		{"updated", iid, "default", `{"changed":["advice_sessions"],"advice_session_id":"` + sid + `"}`},
		{"soft_deleted", iid, f.ids[ann], `{}`},
		{"updated", iid, "default", `{"changed":["deleted_at"]}`},
		{"advice.deleted", sid, "default", `{}`},
		{"deleted", iid, "default", `{}`},
	}
	events := f.events()
	if len(events) != len(want) {
		t.Fatalf("events = %v, want %d", events, len(want))
	}
	for n, w := range want {
		e := f.must(200, viewer, "GET", "/v1/events/"+events[n]["id"].(string), "")
		got := fmt.Sprint(e.str("type"), e.str("object_id"), e.str("object_owner_id"), e.str("owner_id"))
		if s := fmt.Sprint("qap.investor."+w.kind, w.object, own[w.object], w.owner); got != s ||
			!strings.Contains(e.body, `"data":`+w.data) {
			t.Errorf("event %d = %s, want %s with data %s", n, e.body, s, w.data)
		}
	}
}

func TestAdvisoryRules(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	live, gone := f.investor(), f.deleted(f.investor())
	open, done, hidden := f.session(), f.completed(), f.deleted(f.session())
	orphan := f.completed()
	f.deleted("/v1/investors/" + f.must(200, ann, "GET", orphan, "").str("investor_id"))
	f.must(200, admin, "PATCH", live, `{"reference":"x"}`)
	f.must(201, admin, "POST", "/v1/investors",
		`{"investor_type":"person","investor_name":"J","advisor_id":"`+f.ids[bob]+`"}`, "Idempotency-Key", "used")
	full := f.investor()
	b := &store.Batch{}
	for n := range advisory.MaxSessions {
		now := time.Now().UTC().Truncate(time.Millisecond)
		x := store.AdviceSession{Object: store.Object{Tenant: "default",
			ID: fmt.Sprintf("0190a5d2-7c1e-7f3a-9a52-%012d", n), Version: 1, CreatedAt: now, UpdatedAt: now},
			InvestorID: full[len("/v1/investors/"):], Title: "t"}
		b.Submissions = append(b.Submissions, &store.Submission{Tenant: "default", Change: &store.Change{Session: &x}})
	}
	if err := f.store.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	toBob := `{"advisor_id":"` + f.ids[bob] + `"}`
	seen := map[string]bool{}
	before := len(f.events())
	for _, c := range []struct {
		who, method, path, body string
		rule                    advisory.Rule
	}{
		{ann, "PATCH", done, `{"title":"x"}`, advisory.RuleCompleted},
		{ann, "POST", done + "/complete", "", advisory.RuleCompleted},
		{ann, "POST", open + "/reports", "", advisory.RuleNotCompleted},
		{ann, "PATCH", gone, `{"reference":"x"}`, advisory.RuleDeleted},
		{ann, "DELETE", gone, "", advisory.RuleDeleted},
		{ann, "POST", gone + "/advice-sessions", `{"title":"x"}`, advisory.RuleDeleted},
		{ann, "PATCH", hidden, `{"title":"x"}`, advisory.RuleDeleted},
		{ann, "POST", hidden + "/complete", "", advisory.RuleDeleted},
		{ann, "POST", hidden + "/reports", "", advisory.RuleDeleted},
		{ann, "DELETE", hidden, "", advisory.RuleDeleted},
		{ann, "POST", orphan + "/restore", "", advisory.RuleDeleted},
		{ann, "POST", orphan + "/reports", "", advisory.RuleDeleted},
		{ann, "DELETE", orphan, "", advisory.RuleDeleted},
		{ann, "POST", live + "/restore", "", advisory.RuleNotDeleted},
		{ann, "POST", open + "/restore", "", advisory.RuleNotDeleted},
		{admin, "DELETE", "/v1/advisors/" + f.ids[bob], "", advisory.RuleOwnsInvestors},
		{ann, "POST", full + "/advice-sessions", `{"title":"x"}`, advisory.RuleTooMany},
		{admin, "POST", "/v1/advisors", `{"name":"x"}`, advisory.RuleKeyReused},
		{ann, "PATCH", live, toBob, advisory.RuleNotYours},
		{ann, "POST", "/v1/investors", strings.Replace(jane, "}", `,`+toBob[1:], 1), advisory.RuleNotYours},
		{ann, "PATCH", live, `{"reference":"y"}`, advisory.RuleBusy},
	} {
		code := map[advisory.Rule]int{advisory.RuleNotYours: 403, advisory.RuleKeyReused: 422}[c.rule]
		if code == 0 {
			code = 409
		}
		if c.rule == advisory.RuleBusy {
			f.engine.fail = store.ErrVersion
		}
		p := f.must(code, c.who, c.method, c.path, c.body, "Idempotency-Key", "used")
		if d := p.str("detail"); p.str("rule") != string(c.rule) || !strings.HasSuffix(d, ".") || d[0] < 'A' ||
			d[0] > 'Z' {
			t.Errorf("%s %s = %s, want the rule %s and a sentence", c.method, c.path, p.body, c.rule)
		}
		seen[p.str("rule")] = true
	}
	if got := len(f.events()); got != before {
		t.Errorf("%d events after refusals, want %d", got, before)
	}
	if len(seen) != 9 {
		t.Errorf("rules seen = %v, want all nine", slices.Sorted(maps.Keys(seen)))
	}
}

func TestAdvisoryIfMatch(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	deletedInvestor := func() string { return f.deleted(f.investor()) }
	deletedSession := func() string { return f.deleted(f.session()) }
	for _, op := range []struct {
		method, suffix, body string
		path                 func() string
	}{
		{"PATCH", "", `{"email":"a@example.com"}`, f.advisor},
		{"DELETE", "", "", f.advisor},
		{"PATCH", "", `{"country":"CH"}`, f.investor},
		{"DELETE", "", "", f.investor},
		{"DELETE", "?permanent=true", "", f.investor},
		{"DELETE", "?permanent=true", "", deletedInvestor},
		{"POST", "/restore", "", deletedInvestor},
		{"PATCH", "", `{"title":"x"}`, f.session},
		{"POST", "/complete", "", f.session},
		{"DELETE", "", "", f.session},
		{"DELETE", "?permanent=true", "", deletedSession},
		{"POST", "/restore", "", deletedSession},
	} {
		read := func(path string) reply {
			if !strings.HasPrefix(path, "/v1/advisors") {
				path += "?deleted=true"
			}
			return f.must(200, admin, "GET", path, "")
		}
		path := op.path()
		was := read(path)
		tag := was.header.Get("ETag")
		for _, bad := range []string{`"99"`, `W/` + tag, strings.Trim(tag, `"`), `"`, `""`, `"*"`, "garbage",
			",", "W/*"} {
			f.must(412, admin, op.method, path+op.suffix, op.body, "If-Match", bad)
		}
		f.must(422, admin, op.method, path+op.suffix, op.body, "If-Match", strings.Repeat("x", 257))
		if got := read(path); got.body != was.body || got.header.Get("ETag") != tag {
			t.Errorf("%s %s after refusals = %s, want %s", op.method, path+op.suffix, got.body, was.body)
		}
		for _, good := range []string{tag, "*", `"99", ` + tag} {
			p := f.call(admin, op.method, path+op.suffix, op.body, "If-Match", good)
			if p.code != 200 && p.code != 204 || p.header.Get("ETag") == tag {
				t.Errorf("%s %s with If-Match %s = %d %s, want success and another ETag", op.method, path+op.suffix,
					good, p.code, p.body)
			}
			path = op.path()
		}
	}
}

func TestAdvisoryRace(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	path := f.investor()
	before := len(f.events())
	var wg sync.WaitGroup
	var mu sync.Mutex
	changed, made := map[int]int{}, map[string]int{}
	for n := range 8 {
		wg.Go(func() {
			p := f.call(ann, "PATCH", path, fmt.Sprintf(`{"reference":"%d"}`, n), "If-Match", `"1"`)
			q := f.call(ann, "POST", path+"/advice-sessions", `{"title":"once"}`, "Idempotency-Key", "k")
			mu.Lock()
			defer mu.Unlock()
			changed[p.code]++
			made[fmt.Sprint(q.code, q.str("id"))]++
		})
	}
	wg.Wait()
	if changed[200] != 1 || changed[412] != 7 {
		t.Errorf("PATCH of one version, eight times = %v, want one 200 and seven 412", changed)
	}
	if len(made) != 1 || len(f.must(200, ann, "GET", path+"/advice-sessions", "").items()) != 1 {
		t.Errorf("POST with one key, eight times = %v, want one session", made)
	}
	if got := len(f.events()) - before; got != 2 {
		t.Errorf("%d events, want 2", got)
	}
}

// TestAdvisoryRoles makes every call as every caller, each on an object of ann's of its own.
func TestAdvisoryRoles(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	f.investor()
	at := func(path string) func() string { return func() string { return path } }
	sessions := func() string { return f.investor() + "/advice-sessions" }
	under := func(of func() string, suffix string) func() string { return func() string { return of() + suffix } }
	gone := func(of func() string) func() string { return func() string { return f.deleted(of()) } }
	who := []string{publisher, viewer, admin, ann, bob, foreign, operator, ""}
	const read, readOne, write, firmOnly = "403 200 200 200 200 200 200 401", "403 200 200 200 404 404 200 401", "403 403 200 200 404 404 200 401", "403 403 200 403 403 404 200 401"
	const one, investors, session = "/v1/advisors/{id}", "/v1/investors", "/v1/advice-sessions/{id}"
	table := map[string]struct {
		path        func() string
		body, codes string
	}{
		"POST /v1/advisors": {at("/v1/advisors"), `{"name":"x"}`,
			"403 403 201 403 403 201 201 401"},
		"GET /v1/advisors":                        {at("/v1/advisors"), "", read},
		"GET " + one:                              {at("/v1/advisors/" + f.ids[ann]), "", readOne},
		"PATCH " + one:                            {at("/v1/advisors/" + f.ids[ann]), `{"email":"a@example.com"}`, firmOnly},
		"DELETE " + one:                           {f.advisor, "", strings.ReplaceAll(firmOnly, "200", "204")},
		"POST " + investors:                       {at(investors), strings.Replace(jane, "}", `,"advisor_id":"`+f.ids[ann]+`"}`, 1), "403 403 201 201 403 422 201 401"},
		"GET " + investors:                        {at(investors), "", read},
		"GET /v1/investors/{id}":                  {f.investor, "", readOne},
		"PATCH /v1/investors/{id}":                {f.investor, `{"country":"CH"}`, write},
		"DELETE /v1/investors/{id}":               {f.investor, "", strings.ReplaceAll(write, "200", "204")},
		"POST /v1/investors/{id}/restore":         {under(gone(f.investor), "/restore"), "", write},
		"GET /v1/investors/{id}/advice-sessions":  {sessions, "", readOne},
		"POST /v1/investors/{id}/advice-sessions": {sessions, `{"title":"x"}`, strings.ReplaceAll(write, "200", "201")},
		"GET " + session:                          {f.session, "", readOne},
		"PATCH " + session:                        {f.session, `{"title":"x"}`, write},
		"DELETE " + session:                       {f.session, "", strings.ReplaceAll(write, "200", "204")},
		"POST " + session + "/complete":           {under(f.session, "/complete"), "", write},
		"POST " + session + "/restore":            {under(gone(f.session), "/restore"), "", write},
		"POST " + session + "/reports":            {under(f.completed, "/reports"), "", strings.ReplaceAll(write, "200", "201")},
		"GET " + session + "/reports":             {under(f.completed, "/reports"), "", readOne},
		"GET " + session + "/reports/{report}":    {f.report, "", readOne},
	}
	for path, methods := range calls {
		for m := range strings.FieldsSeq(methods) {
			if _, ok := table[strings.ToUpper(m)+" "+path]; advisoryPath(path) != ok {
				t.Errorf("%s %s is in the table: %v, want %v", m, path, ok, !ok)
			}
		}
	}
	for op, c := range table {
		method, _, _ := strings.Cut(op, " ")
		var got []string
		for _, caller := range who {
			path := c.path()
			p := f.call(caller, method, path, c.body,
				strings.Fields(map[string]string{operator: TenantHeader + " default"}[caller])...)
			if got = append(got, strconv.Itoa(p.code)); p.code >= 400 {
				f.isProblem(p)
			}
			if (caller == bob || caller == foreign) && strings.Contains(p.body, "Jane") {
				t.Errorf("%s as %s = %s, want nothing of ann's investor", op, caller, p.body)
			}
			if path != "/v1/advisors" && path != investors { // an operator who means another tenant
				f.must(404, operator, method, path, c.body, TenantHeader, "other")
			}
		}
		if s := strings.Join(got, " "); s != c.codes {
			t.Errorf("%s as %v = %s, want %s", op, who, s, c.codes)
		}
	}
	other := f.completed()
	f.must(404, ann, "GET", other+f.report()[len(other):], "") // through another session
}
