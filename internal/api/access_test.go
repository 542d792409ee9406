package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// everyOperation calls f for each operation of the OpenAPI document, with something in the place of each parameter.
func (r *rig) everyOperation(f func(method, path string)) {
	r.t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(r.must(200, "", "GET", "/openapi.json", "").body), &doc); err != nil ||
		len(doc.Paths) < 20 {
		r.t.Fatalf("the document has %d paths, %v", len(doc.Paths), err)
	}
	for path, methods := range doc.Paths {
		for strings.Contains(path, "{") {
			from, to := strings.Index(path, "{"), strings.Index(path, "}")
			path = path[:from] + "7d0f4a52-3a51-4c1b-9a7e-0c6d1f1f2a10" + path[to+1:]
		}
		for method := range methods {
			f(strings.ToUpper(method), path)
		}
	}
}

// TestEndedAccess: what gives no access any more gives none at any operation that there is: an ended key and what was
// made with it at any distance, one whose time is over, one that is used from elsewhere.
func TestEndedAccess(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.must(201, admin, "POST", "/v1/api-keys", `{"role":"admin","name":"root"}`)
	r.keys["root"] = root.str("key")
	r.keys["child"] = r.must(201, "root", "POST", "/v1/api-keys", `{"role":"admin"}`).str("key")
	r.keys["signed"] = r.must(201, "root", "POST", "/v1/sign-in", "").str("key")
	r.link("link", "signed", `{"role":"admin"}`)
	r.keys["by link"] = r.must(201, "link", "POST", "/v1/sign-in", "").str("key")
	r.link("unopened", "signed", `{"role":"admin"}`)
	r.keys["child signed"] = r.must(201, "child", "POST", "/v1/sign-in", "").str("key")
	away := r.must(201, admin, "POST", "/v1/api-keys",
		`{"role":"admin","networks":["198.51.100.0/24","2001:db8::/32"]}`)
	r.keys["from elsewhere"] = away.str("key")
	plain, over := NewAPIKey("default", store.Admin, "", time.Now().Add(-2*time.Hour))
	over.ExpiresAt = time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	if err := r.store.CreateAPIKey(t.Context(), over); err != nil {
		t.Fatal(err)
	}
	r.keys["over"] = plain
	for _, who := range []string{"root", "child", "signed", "by link", "child signed"} {
		r.must(200, who, "GET", "/v1/webhooks", "")
	}
	r.must(204, admin, "DELETE", "/v1/api-keys/"+root.str("id"), "")
	ops := 0
	r.everyOperation(func(method, path string) {
		ops++
		r.remote = fmt.Sprintf("10.0.0.%d:1", ops) // what fails is limited by address
		for who, want := range map[string]int{"root": 401, "child": 401, "signed": 401, "by link": 401,
			"child signed": 401, "unopened": 401,
			"over": 401, "from elsewhere": 403} {
			if p := r.call(who, method, path, ""); p.code != want {
				t.Errorf("%s %s with the key %q = %d, want %d", method, path, who, p.code, want)
			}
		}
	})
	r.remote = ""
	if ops < 40 {
		t.Errorf("%d operations were tried, want at least 40", ops)
	}
	if got := r.must(200, admin, "GET", "/v1/api-keys?kind=sign_in", "").items(); len(got) != 0 {
		t.Errorf("sign-ins that are listed: %v, want none", got)
	}
}

// TestNetworks: a key is good from its networks, however the address is written.
func TestNetworks(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]bool{
		"192.0.2.1:80": true, "192.0.2.255:1": true, "192.0.3.1:80": false, "[::ffff:192.0.2.1]:80": true, "[2001:db8::1]:9": true,
		"[2001:db9::1]:9": false, "[fe80::1%eth0]:9": false, "": false, "@": false, "192.0.2.1": false,
	} {
		n, err := parseNetworks([]string{"192.0.2.7/24", "2001:db8::/32"})
		if err != nil || n.has(remote) != want || networksOf(n.String()).has(remote) != want {
			t.Errorf("a key of %v, %v is good from %q: %t, want %t", n, err, remote, !want, want)
		}
	}
	for _, bad := range []string{"", "x", "192.0.2.0/33", "::ffff:192.0.2.0/120", "fe80::1%eth0",
		"192.0.2.0/24,10.0.0.0/8"} {
		if n, err := parseNetworks([]string{bad}); err == nil {
			t.Errorf("parseNetworks(%q) = %v, want an error", bad, n)
		}
	}
	for n := maxNetworks - 1; n <= maxNetworks+1; n++ {
		if _, err := parseNetworks(slices.Repeat([]string{"10.0.0.1"}, n)); (err == nil) != (n <= maxNetworks) {
			t.Errorf("parseNetworks of %d = %v", n, err)
		}
	}
}

// TestMintedKeysStayWithin: nothing that a key makes exceeds it or outlives it, and a sign-in makes no key, so that a
// stolen cookie is worth no more than the sign-in.
func TestMintedKeysStayWithin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	made := r.must(201, admin, "POST", "/v1/api-keys",
		fmt.Sprintf(`{"role":"admin","expires_at":%q,"networks":["192.0.2.0/24"]}`, ends.Format(time.RFC3339)))
	r.keys["tight"] = made.str("key") // httptest's requests come from 192.0.2.1

	for body, want := range map[string]string{
		`{"role":"viewer","expires_at":"2999-01-01T00:00:00Z"}`:                   "expires_at",
		`{"role":"viewer","expires_at":"2001-01-01T00:00:00Z"}`:                   "expires_at",
		`{"role":"viewer","expires_at":"soon"}`:                                   "expires_at",
		`{"role":"viewer","networks":["0.0.0.0/0"]}`:                              "networks",
		`{"role":"viewer","networks":["192.0.2.0/25","198.51.100.0/24"]}`:         "networks",
		`{"role":"viewer","networks":["::/0"]}`:                                   "networks",
		`{"role":"viewer","networks":["192.0.0.0/16"]}`:                           "networks",
		`{"role":"viewer","networks":["no"],"expires_at":"2999-01-01T00:00:00Z"}`: "expires_at networks",
	} {
		if p := r.must(422, "tight", "POST", "/v1/api-keys", body); strings.Join(strings.Fields(p.locations()),
			" ") != want {
			t.Errorf("POST %s is refused for %q, want %q", body, p.locations(), want)
		}
	}
	p := r.must(201, "tight", "POST", "/v1/api-keys", `{"role":"viewer"}`)
	if p.str("expires_at") != event.FormatTime(ends) || fmt.Sprint(p.json["networks"]) != "[192.0.2.0/24]" ||
		p.str("made_by") != made.str("id") {
		t.Errorf("a key made with one that ends = %s, want its end, its networks and its maker", p.body)
	}
	for who, body := range map[string]string{"signed": `{"role":"admin","expires_in":"24h","signed_in_for":"168h"}`} {
		r.keys[who] = r.must(201, "tight", "POST", "/v1/sign-in", "").str("key")
		r.link("its link", who, body)
		s := r.must(201, "its link", "POST", "/v1/sign-in", "")
		if s.str("expires_at") != event.FormatTime(ends) {
			t.Errorf("the sign-in by a link of a sign-in of a key that ends at %s ends at %s", event.FormatTime(ends),
				s.str("expires_at"))
		}
		r.keys["second"] = s.str("key")
	}
	for _, k := range r.must(200, admin, "GET", "/v1/api-keys?kind=sign_in", "").items() {
		if fmt.Sprint(k["networks"]) != "[192.0.2.0/24]" || k["expires_at"] != event.FormatTime(ends) {
			t.Errorf("a sign-in exceeds the key that it comes from: %v", k)
		}
	}
	for _, who := range []string{"signed", "second"} {
		r.must(403, who, "POST", "/v1/api-keys", `{"role":"admin"}`)
		r.must(403, who, "PATCH", "/v1/api-keys/"+made.str("id"), `{"networks":null,"expires_at":null}`)
	}
	p = r.must(200, "tight", "PATCH", "/v1/api-keys/"+made.str("id"),
		`{"networks":null,"expires_at":null,"name":"mine"}`)
	if p.str("expires_at") != event.FormatTime(ends) || fmt.Sprint(p.json["networks"]) != "[192.0.2.0/24]" ||
		p.str("name") != "mine" {
		t.Errorf("a key that widens itself = %s, want it as tight as it was", p.body)
	}
	r.must(422, "tight", "PATCH", "/v1/api-keys/"+made.str("id"), `{"role":"operator"}`)
	r.must(404, "other/admin", "PATCH", "/v1/api-keys/"+made.str("id"), `{"name":"x"}`)
	r.must(404, "other/admin", "DELETE", "/v1/api-keys/"+made.str("id"), "")
	r.must(204, "signed", "DELETE", "/v1/sign-in", "")
	r.must(401, "second", "GET", "/v1/webhooks", "")
}

// TestFreshOperator: an operator who has just signed in makes keys, and ten minutes later no more.
func TestFreshOperator(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.keys["signed"] = r.must(201, operator, "POST", "/v1/sign-in", "").str("key")
	p := r.must(201, "signed", "POST", "/v1/api-keys", `{"role":"admin"}`)
	if p.str("expires_at") != "" {
		t.Errorf("a key made by an operator who signed in = %s, want it without an end", p.body)
	}
	h, err := New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{},
		Now: func() time.Time { return time.Now().Add(freshSignIn + time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	r.h = h
	if p := r.must(403, "signed", "POST", "/v1/api-keys", `{"role":"admin"}`); !strings.Contains(p.body,
		"sign in anew") {
		t.Errorf("later = %s, want what to do", p.body)
	}
	r.must(201, operator, "POST", "/v1/api-keys", `{"role":"admin"}`)
}

// TestReplacedKey: the keys that a key made stay where it is said so.
func TestReplacedKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := r.must(201, admin, "POST", "/v1/api-keys", `{"role":"admin"}`)
	r.keys["old"] = old.str("key")
	r.keys["new"] = r.must(201, "old", "POST", "/v1/api-keys", `{"role":"admin"}`).str("key")
	r.keys["signed"] = r.must(201, "old", "POST", "/v1/sign-in", "").str("key")
	r.must(204, "new", "DELETE", "/v1/api-keys/"+old.str("id")+"?keep_keys=true", "")
	r.must(200, "new", "GET", "/v1/webhooks", "")
	for _, who := range []string{"old", "signed"} {
		r.must(401, who, "GET", "/v1/webhooks", "")
	}
}

// TestLastUse: when and from where a key was last used is on record, and costs no request a write.
func TestLastUse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var jobs []func()
	h, err := New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{}, Now: func() time.Time { return now },
		Background: func(f func()) bool { jobs = append(jobs, f); return true }})
	if err != nil {
		t.Fatal(err)
	}
	use := func(remote string) {
		req := httptest.NewRequest("GET", "/v1/webhooks", nil)
		req.Header.Set("Authorization", "Bearer "+r.keys[viewer])
		req.RemoteAddr = remote
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, req); w.Code != http.StatusOK {
			t.Fatalf("GET = %d %s", w.Code, w.Body)
		}
	}
	shown := func() string {
		for _, f := range jobs {
			f()
		}
		jobs = nil
		for _, k := range r.must(200, admin, "GET", "/v1/api-keys", "").items() {
			if k["role"] == "viewer" {
				return fmt.Sprint(k["last_used_at"], " ", k["last_used_from"])
			}
		}
		return "no such key"
	}
	for _, c := range []struct {
		after  time.Duration
		remote string
		want   string
	}{
		{0, "203.0.113.9:1234", "2026-01-02T03:04:05.000Z 203.0.113.9"},
		{30 * time.Second, "203.0.113.10:1", "2026-01-02T03:04:05.000Z 203.0.113.9"}, // to the minute
		{30 * time.Second, "[2001:db8::1]:1", "2026-01-02T03:05:05.000Z 2001:db8::1"},
	} {
		now = now.Add(c.after)
		for range 5 {
			use(c.remote)
		}
		if len(jobs) > 1 {
			t.Errorf("%d writes for one use, want at most 1", len(jobs))
		}
		if got := shown(); got != c.want {
			t.Errorf("after %v from %s, the last use is %s, want %s", c.after, c.remote, got, c.want)
		}
	}
}

// TestTightenedKeys: what is taken from a key later is taken from all that was made with it too, at once; and nothing
// that is given to a key reaches beyond what made it.
func TestTightenedKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	root := r.must(201, admin, "POST", "/v1/api-keys", `{"role":"admin"}`)
	r.keys["root"] = root.str("key")
	child := r.must(201, "root", "POST", "/v1/api-keys", `{"role":"admin"}`)
	r.keys["child"] = child.str("key")
	r.keys["signed"] = r.must(201, "root", "POST", "/v1/sign-in", "").str("key")
	r.link("link", "signed", `{"role":"admin"}`)
	r.keys["by link"] = r.must(201, "link", "POST", "/v1/sign-in", "").str("key")
	r.keys["child signed"] = r.must(201, "child", "POST", "/v1/sign-in", "").str("key")
	made := []string{"root", "child", "signed", "by link", "child signed"}
	all := func(want int, why string) {
		t.Helper()
		for _, who := range made {
			if p := r.call(who, "GET", "/v1/webhooks", ""); p.code != want {
				t.Errorf("%s, the key %q = %d %s, want %d", why, who, p.code, p.body, want)
			}
		}
	}
	all(200, "before")
	path := "/v1/api-keys/" + root.str("id")
	r.must(200, admin, "PATCH", path, `{"networks":["198.51.100.0/24"]}`)
	all(403, "with networks elsewhere")
	r.must(200, admin, "PATCH", path, `{"networks":null}`)
	all(200, "without networks again")
	r.must(200, admin, "PATCH", path, fmt.Sprintf(`{"expires_at":%q}`, ends.Format(time.RFC3339)))
	r.must(200, admin, "PATCH", "/v1/api-keys/"+child.str("id"), `{"expires_at":null}`) // gives it no end of its own
	all(200, "before the end")
	h, err := New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{}, Now: func() time.Time { return ends }})
	if err != nil {
		t.Fatal(err)
	}
	r.h = h
	all(401, "at the end of the key that made them")
}

// TestMintingWhileEnded: a key that makes keys while it is ended leaves none that is good.
func TestMintingWhileEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 30 {
		r.remote = fmt.Sprintf("10.0.0.%d:1", i) // what fails is limited by address
		who := fmt.Sprint("root", i)
		root := r.must(201, admin, "POST", "/v1/api-keys", `{"role":"admin"}`)
		r.keys[who] = root.str("key")
		r.must(200, who, "GET", "/v1/webhooks", "")
		var minting sync.WaitGroup
		minted := make([]string, 4)
		for k := range minted {
			minting.Go(func() { minted[k] = r.call(who, "POST", "/v1/api-keys", `{"role":"admin"}`).str("key") })
		}
		r.must(204, admin, "DELETE", "/v1/api-keys/"+root.str("id"), "")
		minting.Wait()
		for k, key := range minted {
			if key == "" {
				continue
			}
			name := fmt.Sprint("minted", i, k)
			r.keys[name] = key
			if p := r.call(name, "GET", "/v1/webhooks", ""); p.code != 401 {
				t.Errorf("a key that was made while its maker was ended = %d, want 401", p.code)
			}
		}
	}
}

// TestEndedOnEveryNode: a key that is ended at one node is good for nothing at another within a second, and a stream
// there ends too.
func TestEndedOnEveryNode(t *testing.T) {
	t.Parallel()
	if keyLife+keyCheck > time.Second {
		t.Errorf("what was looked up is believed for %v and streams look every %v: together over a second",
			keyLife, keyCheck)
	}
	r := newRig(t)
	var ahead atomic.Int64
	other := &rig{t: t, store: r.store, engine: r.engine, log: r.log, keys: r.keys}
	var err error
	other.h, err = New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{}, Version: "test",
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	made := r.must(201, admin, "POST", "/v1/api-keys", `{"role":"viewer"}`)
	r.keys["ended"] = made.str("key")
	other.must(200, "ended", "GET", "/v1/webhooks", "")
	ended := other.watch("ended")
	r.must(204, admin, "DELETE", "/v1/api-keys/"+made.str("id"), "")
	r.must(401, "ended", "GET", "/v1/webhooks", "")
	ahead.Store(int64(time.Second))
	other.must(401, "ended", "GET", "/v1/webhooks", "")
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the stream at the other node goes on")
	}
}

// setBack is a time as time.Now gives it after the machine's clock was set back: its wall clock shows less, and its
// monotonic reading goes on.
func setBack(now time.Time, seconds uint64) time.Time {
	before := now
	*(*uint64)(unsafe.Pointer(&now)) -= seconds << 30 // the seconds of a Time with a monotonic reading
	if d := time.Duration(seconds) * time.Second; now.Sub(before) != 0 || !now.Round(0).Equal(before.Round(0).Add(-d)) {
		panic("a time.Time is made in another way than this was written for")
	}
	return now
}

// TestEndedWithClockSetBack: a clock that is set back keeps no key good that was ended at another node, and no stream
// of it.
func TestEndedWithClockSetBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var ahead atomic.Int64
	var back atomic.Uint64
	other := &rig{t: t, store: r.store, engine: r.engine, log: r.log, keys: r.keys}
	var err error
	other.h, err = New(Config{Engine: r.engine, Store: r.store, Guard: fakeGuard{}, Version: "test",
		Now: func() time.Time {
			return setBack(time.Now().Add(time.Duration(ahead.Load())), back.Load())
		}})
	if err != nil {
		t.Fatal(err)
	}
	made := r.must(201, admin, "POST", "/v1/api-keys", `{"role":"viewer"}`)
	r.keys["ended"] = made.str("key")
	other.must(200, "ended", "GET", "/v1/webhooks", "")
	ended := other.watch("ended")
	r.must(204, admin, "DELETE", "/v1/api-keys/"+made.str("id"), "")
	back.Store(3600)
	ahead.Store(int64(time.Second))
	other.must(401, "ended", "GET", "/v1/webhooks", "")
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the stream goes on")
	}
}

// watch opens a stream of attempts with a key; the channel is closed when it ends.
func (r *rig) watch(who string) <-chan struct{} {
	r.t.Helper()
	req := httptest.NewRequest("GET", livePath, nil).WithContext(r.t.Context())
	req.Header.Set("Authorization", "Bearer "+r.keys[who])
	w := &firstByte{ResponseRecorder: httptest.NewRecorder(), written: make(chan struct{})}
	ended := make(chan struct{})
	go func() { defer close(ended); r.h.ServeHTTP(w, req) }()
	<-w.written
	return ended
}

// TestKeysPageByPage: every key is listed once, over all pages, many of one moment too, and the operators' come first.
func TestKeysPageByPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i := range 23 {
		_, k := NewAPIKey("default", store.Viewer, fmt.Sprint(i), now.Add(time.Duration(i/10)*time.Millisecond))
		if i%5 == 0 {
			_, k = NewAPIKey("", store.Operator, fmt.Sprint(i), now)
		}
		if err := r.store.CreateAPIKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	const own, tenants = 1 + 5, 3 + 18
	for limit := 1; limit <= 30; limit++ {
		seen, operators, next := map[string]bool{}, 0, ""
		for pages := 0; pages < 100; pages++ {
			p := r.must(200, operator, "GET", fmt.Sprintf("/v1/api-keys?limit=%d&cursor=%s", limit, next), "")
			for _, k := range p.items() {
				if seen[k["id"].(string)] {
					t.Fatalf("with pages of %d a key came twice", limit)
				}
				seen[k["id"].(string)] = true
				if k["role"] == "operator" {
					if operators++; len(seen) != operators {
						t.Fatalf("with pages of %d an operator's key came after a tenant's", limit)
					}
				}
			}
			if len(p.items()) > limit {
				t.Fatalf("a page of %d has %d", limit, len(p.items()))
			}
			if next, _ = p.json["next"].(string); next == "" {
				break
			}
			r.must(400, admin, "GET", "/v1/api-keys?cursor="+next, "")
		}
		if len(seen) != own+tenants || operators != own {
			t.Errorf("with pages of %d there are %d keys, %d of them operators', want %d and %d", limit,
				len(seen), operators,
				own+tenants, own)
		}
	}
	if n := len(r.must(200, operator, "GET", "/v1/api-keys?tenant=default&limit=200", "").items()); n != tenants {
		t.Errorf("an operator who names the tenant sees %d keys, want %d", n, tenants)
	}
}
