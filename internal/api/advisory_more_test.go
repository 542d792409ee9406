package api

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

func TestIdempotency(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	investor := f.investor()
	for n, op := range []struct {
		path, body   string
		code         int
		path2, body2 string // another request
	}{
		{"/v1/advisors", `{"name":"A"}`, 201, "/v1/advisors", `{"name":"B"}`},
		{"/v1/investors", jane, 201, "/v1/investors", strings.Replace(jane, "person", "company", 1)},
		{investor + "/advice-sessions", `{"title":"a"}`, 201, f.investor() + "/advice-sessions", `{"title":"a"}`},
		{f.session() + "/complete", "", 200, f.session() + "/complete", ""},
		{f.completed() + "/reports", "", 201, f.completed() + "/reports", ""},
		{f.deleted(f.session()) + "/restore", "", 200, f.deleted(f.session()) + "/restore", ""},
		{f.deleted(f.investor()) + "/restore", "", 200, f.deleted(f.investor()) + "/restore", ""},
	} {
		who := ann
		if n == 0 {
			who = admin
		}
		key := []string{"Idempotency-Key", fmt.Sprint("key-", n)}
		f.engine.fail = store.ErrFull
		f.must(507, who, "POST", op.path, op.body, key...)
		f.engine.fail = nil
		if op.body != "" {
			f.must(422, who, "POST", op.path, `{"nope":1}`, key...)
		}
		first := f.must(op.code, who, "POST", op.path, op.body, key...)
		before := len(f.events())
		again := f.must(op.code, who, "POST", op.path, op.body, key...)
		if h := "ETag"; first.body != again.body || first.header.Get(h) != again.header.Get(h) ||
			first.header.Get("Location") != again.header.Get("Location") {
			t.Errorf("POST %s again = %v %s, want %v %s", op.path, again.header, again.body, first.header, first.body)
		}
		for _, p := range []reply{
			f.must(422, who, "POST", op.path2, op.body2, key...),
			f.must(422, who, "POST", investor+"/advice-sessions", `{"title":"z"}`, key...),
		} {
			if p.str("rule") != "key_reused" {
				t.Errorf("POST with the key of %s = %s, want the rule key_reused", op.path, p.body)
			}
		}
		if got := len(f.events()); got != before {
			t.Errorf("POST %s again: %d events, want %d", op.path, got, before)
		}
	}

	// The key is the caller's: the firm's, another advisor's and another tenant's are others.
	ids := map[string]bool{}
	for _, who := range []string{ann, bob} {
		ids[f.must(201, who, "POST", "/v1/investors", jane, "Idempotency-Key", "shared").str("id")] = true
	}
	for _, who := range []string{admin, foreign} {
		ids[f.must(201, who, "POST", "/v1/advisors", `{"name":"A"}`, "Idempotency-Key", "shared").str("id")] = true
	}
	if len(ids) != 4 {
		t.Errorf("four callers with one key made %d objects, want 4", len(ids))
	}

	// A rule that was broken does not use the key up, nor does a stale version.
	open := f.session()
	f.must(409, ann, "POST", open+"/reports", "", "Idempotency-Key", "later")
	f.must(412, ann, "POST", open+"/complete", "", "Idempotency-Key", "sooner", "If-Match", `"9"`)
	f.must(200, ann, "POST", open+"/complete", "", "Idempotency-Key", "sooner", "If-Match", `"1"`)
	f.must(201, ann, "POST", open+"/reports", "", "Idempotency-Key", "later")

	// The answer is the object as it is by then.
	p := f.must(201, ann, "POST", "/v1/investors", jane, "Idempotency-Key", "then")
	path := p.header.Get("Location")
	f.must(200, ann, "PATCH", path, `{"country":"CH"}`)
	if again := f.must(201, ann, "POST", "/v1/investors", jane, "Idempotency-Key", "then"); again.str("country") != "CH" || again.header.Get("ETag") != `"2"` {
		t.Errorf("POST again after a change = %s, want the changed object", again.body)
	}
	f.must(204, ann, "DELETE", path+"?permanent=true", "")
	f.must(404, ann, "POST", "/v1/investors", jane, "Idempotency-Key", "then")

	f.must(201, ann, "POST", "/v1/investors", jane, "Idempotency-Key", strings.Repeat("k", 255))
	if p := f.must(422, ann, "POST", "/v1/investors", jane, "Idempotency-Key",
		strings.Repeat("k", 256)); p.locations() != "header.Idempotency-Key" {
		t.Errorf("a key of 256 characters is refused at %q, want header.Idempotency-Key", p.locations())
	}
}

func TestAdvisoryMergePatch(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	advisor, investor, session := f.advisor(), f.investor(), f.session()
	for _, c := range []struct{ path, body, fields string }{
		{advisor, `{"name":null,"email":"x","nope":1}`, "nope name email"},
		{advisor, `{"name":["x"],"email":5}`, "name email"},
		{investor, `{"advisor_id":null,"investor_type":"dog","investor_name":" ","email":"@","country":"ch","reference":"a\u0000"}`,
			"advisor_id investor_type investor_name email country reference"},
		{investor, `{"reference":5,"deleted_at":null,"id":"x","country":"CHE"}`, "reference deleted_at id country"},
		{investor, `{"advisor_id":"0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44"}`, "advisor_id"},
		{investor, `{"investor_name":"a","investor_name":"b"}`, "investor_name"},
		{investor, `{"investor_name":"` + strings.Repeat("é", 201) + `","reference":"` + strings.Repeat("x", 101) + `","email":"` + strings.Repeat("x", 250) + `@x.ch"}`,
			"investor_name email reference"},
		{session, `{"title":"","objective":"\u0000","risk_profile":"wild","horizon_years":101,"recommendation":"` + strings.Repeat("x", 20001) + `"}`,
			"title objective risk_profile horizon_years recommendation"},
		{session, `{"horizon_years":1.5,"status":"completed","title":{}}`, "title horizon_years status"},
		{session, `{"horizon_years":-1}`, "horizon_years"},
		{session, `{"title":"a\nb"}`, "title"},
		{session, `{"title":"\u202a\u0007"}`, "title"},
	} {
		was := f.must(200, admin, "GET", c.path, "")
		if p := f.must(422, admin, "PATCH", c.path, c.body); p.locations() != c.fields {
			t.Errorf("PATCH %.80s: violations at %q, want %q", c.body, p.locations(), c.fields)
		}
		if got := f.must(200, admin, "GET", c.path, ""); got.body != was.body {
			t.Errorf("GET %s after a refusal = %s, want %s", c.path, got.body, was.body)
		}
	}
	for path, fields := range map[string]string{"/v1/advisors": "name",
		"/v1/investors": "advisor_id investor_type investor_name", investor + "/advice-sessions": "title"} {
		if p := f.must(422, admin, "POST", path, `{}`); p.locations() != fields {
			t.Errorf("POST %s {}: violations at %q, want %q", path, p.locations(), fields)
		}
		if p := f.must(422, admin, "POST", path, `{"b":1,"a":1}`); p.locations() != "a b "+fields {
			t.Errorf("POST %s with unknown members: violations at %q, want %q", path, p.locations(), "a b "+fields)
		}
	}
	most := strings.Repeat("é", 20000)
	f.must(200, ann, "PATCH", session, `{"objective":"`+most+`","recommendation":"`+most+`"}`, "Content-Type",
		"application/merge-patch+json")
	f.must(200, admin, "PATCH", investor, `{"advisor_id":"`+f.ids[bob]+`"}`)
	f.must(404, ann, "GET", investor, "")
	f.must(200, bob, "GET", investor, "")

	for _, path := range []string{advisor, investor, session} {
		all := "/v1/advisors"
		if path != advisor {
			all = "/v1/investors"
		}
		for _, bad := range []string{``, `{`, `[]`, `null`, `"x"`, `{}{}`, "{\"name\":\"\xff\"}",
			strings.Repeat(`{"a":`, 5000), strings.Repeat("[", 17) + strings.Repeat("]", 17)} {
			f.must(400, admin, "PATCH", path, bad)
			f.must(400, admin, "POST", all, bad)
			f.must(400, admin, "POST", investor+"/advice-sessions", bad)
		}
		f.must(413, admin, "PATCH", path, strings.Repeat(" ", maxBody)+`{}`)
		f.must(413, admin, "POST", all, strings.Repeat(" ", maxBody)+`{}`)
	}
}

func TestAdvisoryPages(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	one, two, done, done2 := f.investor(), f.investor(), f.completed(), f.completed()
	make4 := func(path, body string) {
		for range 4 {
			f.must(201, ann, "POST", path, body)
		}
	}
	make4("/v1/investors", `{"investor_type":"company","investor_name":"Acme","reference":"C-1"}`)
	make4(one+"/advice-sessions", `{"title":"t"}`)
	make4(two+"/advice-sessions", `{"title":"t"}`)
	make4(done+"/reports", "")
	make4(done2+"/reports", "")
	for range 3 {
		f.deleted(f.investor())
		f.deleted(f.must(201, ann, "POST", one+"/advice-sessions", `{"title":"gone"}`).header.Get("Location"))
		f.must(200, ann, "POST", f.must(201, ann, "POST", one+"/advice-sessions", `{"title":"done"}`).header.Get("Location")+"/complete", "")
	}
	f.must(201, bob, "POST", "/v1/investors", `{"investor_type":"company","investor_name":"Bob's","reference":"C-1"}`)

	cursors := map[string]string{}
	for _, c := range []struct {
		path string
		want int
	}{
		{"/v1/advisors?", 2},
		{"/v1/investors?", 9},
		{"/v1/investors?deleted=true", 3},
		{"/v1/investors?advisor_id=" + f.ids[ann], 8},
		{"/v1/investors?advisor_id=nobody", 0},
		{"/v1/investors?investor_type=company", 5},
		{"/v1/investors?reference=C-1", 5},
		{"/v1/investors?reference=C-1&advisor_id=" + f.ids[bob], 1},
		{one + "/advice-sessions?", 7},
		{two + "/advice-sessions?", 4},
		{one + "/advice-sessions?status=open", 4},
		{one + "/advice-sessions?status=completed", 3},
		{one + "/advice-sessions?deleted=true", 3},
		{done + "/reports?", 4},
		{done2 + "/reports?", 4},
	} {
		seen, next := map[any]bool{}, ""
		for page := 0; page == 0 || next != ""; page++ {
			p := f.must(200, viewer, "GET", strings.Replace(c.path+"&limit=1&cursor="+next, "?&", "?", 1), "")
			for _, x := range p.items() {
				seen[x["id"]] = true
			}
			if next = p.str("next"); next != "" {
				cursors[c.path] = next
			}
			if !strings.Contains(p.body, `"items":[`) || page > c.want {
				t.Fatalf("GET %s = %s, want items, and an end", c.path, p.body)
			}
		}
		if len(seen) != c.want {
			t.Errorf("GET %s, page by page = %d items, want %d", c.path, len(seen), c.want)
		}
	}
	for path := range cursors {
		for other, cursor := range cursors {
			if path != other {
				f.must(400, viewer, "GET", strings.Replace(path+"&cursor="+cursor, "?&", "?", 1), "")
			}
		}
		f.must(400, viewer, "GET", strings.Replace(path+"&cursor=AAAA", "?&", "?", 1), "")
		f.must(422, viewer, "GET", strings.Replace(path+"&limit=201", "?&", "?", 1), "")
		f.must(422, viewer, "GET", strings.Replace(path+"&nope=1", "?&", "?", 1), "")
	}
	f.must(400, ann, "GET", "/v1/investors?cursor="+cursors["/v1/investors?"], "")
	f.must(422, viewer, "GET", "/v1/investors?investor_type=dog", "")
	f.must(422, viewer, "GET", one+"/advice-sessions?status=lost", "")
	for who, want := range map[string]int{ann: 8, bob: 1, foreign: 0} {
		if got := len(f.must(200, who, "GET", "/v1/investors", "").items()); got != want {
			t.Errorf("GET /v1/investors as %s = %d items, want %d", who, got, want)
		}
	}
	for _, who := range []string{ann, bob} {
		if got := f.must(200, who, "GET", "/v1/advisors", "").items(); len(got) != 1 || got[0]["id"] != f.ids[who] {
			t.Errorf("GET /v1/advisors as %s = %v, want themselves only", who, got)
		}
	}
	if got := f.must(200, bob, "GET", "/v1/investors?advisor_id="+f.ids[ann], "").items(); len(got) != 0 {
		t.Errorf("GET /v1/investors of another advisor = %v, want none", got)
	}
	f.must(200, ann, "GET", f.deleted(one)+"/advice-sessions?deleted=true", "")
}

func TestAdvisoryKeys(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	theirs := f.must(201, foreign, "POST", "/v1/advisors", `{"name":"theirs"}`).str("id")
	none := "0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44"
	for _, c := range []struct {
		who, body string
		code      int
	}{
		{admin, `{"role":"advisor"}`, 422},
		{admin, `{"role":"advisor","advisor_id":5}`, 422},
		{admin, `{"role":"viewer","advisor_id":"` + f.ids[ann] + `"}`, 422},
		{operator, `{"role":"operator","advisor_id":"` + f.ids[ann] + `"}`, 422},
		{admin, `{"role":"advisor","advisor_id":"` + none + `"}`, 404},
		{admin, `{"role":"advisor","advisor_id":"` + strings.Repeat("x", 300) + `"}`, 404},
		{admin, `{"role":"advisor","advisor_id":"\u0000"}`, 404},
		{admin, `{"role":"advisor","advisor_id":"` + theirs + `"}`, 404},
		{operator, `{"role":"advisor","tenant":"default","advisor_id":"` + theirs + `"}`, 404},
		{operator, `{"role":"advisor","tenant":"other","advisor_id":"` + theirs + `"}`, 201},
		{ann, `{"role":"advisor","advisor_id":"` + f.ids[ann] + `"}`, 403},
	} {
		p := f.must(c.code, c.who, "POST", "/v1/api-keys", c.body)
		if c.code == 422 && p.locations() != "advisor_id" && !strings.Contains(c.body, "5") {
			t.Errorf("POST /v1/api-keys %s: violations at %q, want advisor_id", c.body, p.locations())
		}
	}
	shown := 0
	for _, k := range f.must(200, admin, "GET", "/v1/api-keys", "").items() {
		if (k["role"] == "advisor") != (k["advisor_id"] != nil) {
			t.Errorf("GET /v1/api-keys has %v, want advisor_id with the role advisor only", k)
		}
		if k["advisor_id"] == f.ids[bob] {
			shown++
		}
	}
	if shown != 1 {
		t.Errorf("GET /v1/api-keys shows %d keys of an advisor, want 1", shown)
	}

	// The keys go with the advisor, within the second for which a key is believed.
	now := time.Now()
	var err error
	f.h, err = New(Config{Engine: f.engine, Store: f.store, Guard: fakeGuard{}, Now: func() time.Time { return now },
		Advisory: advisory.New(advisory.Config{Engine: f.engine, Store: f.store})})
	if err != nil {
		t.Fatal(err)
	}
	f.must(200, bob, "GET", "/v1/investors", "")
	f.must(204, admin, "DELETE", "/v1/advisors/"+f.ids[bob], "")
	now = now.Add(time.Second)
	f.must(401, bob, "GET", "/v1/investors", "")
	if _, err := f.store.APIKeyByHash(t.Context(), HashKey(f.keys[bob])); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("APIKeyByHash(of a deleted advisor) = %v, want %v", err, store.ErrNotFound)
	}
	f.must(200, ann, "GET", "/v1/investors", "")
}

func TestAdvisoryNotServed(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	bare, err := New(Config{Engine: f.engine, Store: f.store, Guard: fakeGuard{}})
	if err != nil {
		t.Fatal(err)
	}
	f.h = bare
	doc := f.must(200, "", "GET", "/openapi.json", "").body
	for path, methods := range calls {
		if !advisoryPath(path) {
			continue
		}
		for m := range strings.FieldsSeq(methods) {
			f.must(404, admin, strings.ToUpper(m),
				strings.NewReplacer("{id}", "x", "{report}", "y").Replace(path), `{}`)
		}
		if strings.Contains(doc, `"`+path+`"`) {
			t.Errorf("the document has %s, want nothing of the platform", path)
		}
	}
	if strings.Contains(doc, advisoryTag) {
		t.Errorf("the document has the tag %q", advisoryTag)
	}
}

func advisoryPath(path string) bool {
	return strings.HasPrefix(path, "/v1/advisors") || strings.HasPrefix(path, "/v1/investors") ||
		strings.HasPrefix(path, "/v1/advice-sessions")
}

// TestAdvisoryLog looks for an investor's data in the log.
func TestAdvisoryLog(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	var err error
	log := slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if f.h, err = New(Config{Engine: f.engine, Store: f.store, Guard: fakeGuard{}, Logger: log,
		Advisory: advisory.New(advisory.Config{Engine: f.engine, Store: f.store, Logger: log})}); err != nil {
		t.Fatal(err)
	}
	const investor = `{"investor_type":"person","investor_name":"Canary","email":"canary@example.com","reference":"canary"}`
	const session = `{"title":"Canary","objective":"canary","recommendation":"canary"}`
	for _, fail := range []error{errors.New("broken"), store.ErrBroken, nil} {
		f.engine.fail = fail
		path := f.call(ann, "POST", "/v1/investors", investor, "Idempotency-Key", "canary").header.Get("Location")
		f.call(ann, "POST", "/v1/investors", investor[:len(investor)-1])
		f.call(ann, "POST", "/v1/investors", strings.Replace(investor, "person", "canary", 1))
		f.call(ann, "GET", "/v1/investors?reference=canary&cursor=canary", "")
		if fail != nil {
			continue
		}
		s := f.must(201, ann, "POST", path+"/advice-sessions", session).header.Get("Location")
		f.must(200, ann, "POST", s+"/complete", "")
		f.must(201, ann, "POST", s+"/reports", "")
		f.must(409, ann, "PATCH", s, session)
		f.must(204, ann, "DELETE", path+"?permanent=true", "")
	}
	if s := f.log.String(); strings.Contains(strings.ToLower(s), "canary") || !strings.Contains(s, "broken") {
		t.Errorf("log = %s, want failures in it and nothing of an investor", s)
	}
}

func TestAdvisoryHostile(t *testing.T) {
	t.Parallel()
	f := newFirm(t)
	session := f.completed()
	for path, methods := range calls {
		if !advisoryPath(path) || !strings.Contains(path, "{") {
			continue
		}
		for _, c := range []struct {
			id   string
			code int
		}{
			{strings.Repeat("x", 300), 422}, {strings.Repeat("%00", 65), 400}, {"%00", 400}, {"%FF%FE", 400}, {"..",
				400}, {"%E2%80%AE", 404}, {"..%2F..", 400}, {"'%20OR%201=1--", 404},
		} {
			for m := range strings.FieldsSeq(methods) {
				body := ""
				if m == "patch" || m == "post" && !bodiless(path) {
					body = `{"title":"x"}`
				}
				f.must(c.code, admin, strings.ToUpper(m),
					strings.NewReplacer("{id}", c.id, "{report}", c.id).Replace(path), body)
			}
		}
		for _, q := range []string{"?tenant=%00", "?nope=1"} {
			if p := f.call(admin, "GET", "/v1/investors"+q, ""); p.code != 400 && p.code != 422 {
				t.Errorf("GET /v1/investors%s = %d, want a refusal", q, p.code)
			}
		}
	}
	f.must(400, ann, "GET", session+"/reports/%00", "")
	f.must(400, admin, "POST", "/v1/investors//restore", "")
	f.must(422, admin, "GET", "/v1/investors?reference="+strings.Repeat("x", 101), "")
	f.must(422, admin, "GET", "/v1/investors/x?deleted=maybe", "")
	for _, q := range []string{"reference=%00", "reference=%FF", "advisor_id=%00", "reference=%zz"} {
		f.must(400, admin, "GET", "/v1/investors?"+q, "")
	}
	if got := f.must(200, admin, "GET", "/v1/investors?reference=%25", "").items(); len(got) != 0 {
		t.Errorf("investors with the reference %% = %v, want none", got)
	}
	for _, key := range []string{"\x80\xff'", "a\tb"} {
		f.must(422, ann, "POST", "/v1/investors", jane, "Idempotency-Key", key)
	}
}
