package ui_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

const adminKey = "the-operator's-key-of-the-dashboard's-tests"

// rig is a server with its dashboard, and receivers to deliver to.
type rig struct {
	t         *testing.T
	app       *app.App
	url       string
	link      string // that signs in once
	operator  *client.Client
	tenant    string // that filled fills; empty: default
	receivers *httptest.Server
	failing   atomic.Bool  // /flaky answers 503
	away      atomic.Bool  // the server, for who comes through the wall
	steps     atomic.Int32 // of retries of many, after which it goes away
	asked     atomic.Int32 // requests that came to the wall
	walled    bool

	mu  sync.Mutex
	got map[string]int // requests by path
}

// newRig starts a server on a file of its own.
func newRig(t *testing.T) *rig {
	t.Helper()
	return rigOn(t, t.TempDir())
}

// rigOn starts a server on a data folder.
func rigOn(t *testing.T, data string, edits ...func(*app.Config)) *rig {
	t.Helper()
	r := &rig{t: t, got: map[string]int{}}
	r.receivers = httptest.NewServer(http.HandlerFunc(r.receive))
	t.Cleanup(r.receivers.Close)
	cfg := app.Config{
		Listen: "127.0.0.1:0", Data: data, AdminKey: adminKey, AllowNetwork: []string{"127.0.0.0/8"}, Advisory: true,
		UndeleteTime: 24 * time.Hour, Retention: 1000 * time.Hour, Concurrency: 16, StopTimeout: 3 * time.Second,
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	a, err := app.New(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Stop(context.Background()) })
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.app, r.url, r.link = a, a.URL(), a.URL()+a.FirstLink()
	r.operator = client.New(r.url, adminKey)
	return r
}

func (r *rig) receive(w http.ResponseWriter, q *http.Request) {
	_, _ = io.Copy(io.Discard, q.Body)
	r.mu.Lock()
	r.got[q.URL.Path]++
	r.mu.Unlock()
	switch {
	case q.URL.Path == "/down", q.URL.Path == "/flaky" && r.failing.Load():
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":"down for maintenance"}`)
	case q.URL.Path == "/busy":
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	case q.URL.Path == "/hostile":
		w.Header().Set("X-Hostile", strings.ReplaceAll(hostile, "\u202e", "\xff"))
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, terminal)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// webhook registers one of a path of the receivers.
func (r *rig) webhook(path, name string, retry ...time.Duration) client.Webhook {
	r.t.Helper()
	w := client.NewWebhook{
		URL: r.receivers.URL + path, EventTypes: []string{"**"}, Description: name, GenerateSigningKey: true,
		Auth:    &client.Auth{Type: client.AuthBearer, Token: "a-token"},
		Headers: []client.Header{{Name: "X-Team", Value: "blue"}},
	}
	for _, d := range retry {
		w.RetrySchedule = append(w.RetrySchedule, client.Duration(d))
	}
	return must(r.operator.CreateWebhook(r.t.Context(), w))(r.t)
}

// publish publishes an example of each event type, several times.
func (r *rig) publish(times int) (ids []string) {
	r.t.Helper()
	types := must(r.operator.EventTypes(r.t.Context()))(r.t)
	for range times {
		for _, typ := range types {
			e := typ.Example
			e.ID, e.Time = "", client.Time{}
			ids = append(ids, must(r.operator.Publish(r.t.Context(), e))(r.t).ID)
		}
	}
	return ids
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 30 seconds not: %s", what)
		}
	}
}

// chromium is where the browser is; "" when there is none.
func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	return ""
}

// browser starts a browser. What its console says of errors, and what it asks of other hosts, fails the test.
func (r *rig) browser(more ...chromedp.ExecAllocatorOption) context.Context {
	r.t.Helper()
	path := chromium()
	if path == "" {
		if os.Getenv("CI") != "" {
			r.t.Fatal("there is no Chromium")
		}
		r.t.Skip("SKIPPED: there is no Chromium to try the pages in; apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.WindowSize(1280, 900), chromedp.Flag("lang", "en-GB"), chromedp.Flag("disable-dev-shm-usage", true))
	options = append(options, more...)
	ctx, err := r.startBrowser(options)
	for again := 0; err != nil && again < 2; again++ { // it crashes at its start now and then
		r.t.Logf("the browser did not start, and is started again: %v", err)
		ctx, err = r.startBrowser(options)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.watch(ctx)
	return ctx
}

// startBrowser starts one, without a limit of time.
func (r *rig) startBrowser(options []chromedp.ExecAllocatorOption) (context.Context, error) {
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	r.t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	r.t.Cleanup(cancel)
	return ctx, chromedp.Do(ctx)
}

// wall puts something between browsers and the server, so that the server can be away: connections end without an
// answer.
func (r *rig) wall() {
	r.t.Helper()
	to := must(url.Parse(r.url))(r.t)
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.Out.Host = p.In.Host
	}, ErrorLog: log.New(io.Discard, "", 0)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		if r.away.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, q)
		if q.Method == http.MethodPost && strings.HasSuffix(q.URL.Path, "/deliveries/retry") && r.steps.Add(-1) == 0 {
			r.away.Store(true)
		}
	}))
	r.t.Cleanup(front.Close)
	r.link, r.url, r.walled = strings.Replace(r.link, r.url, front.URL, 1), front.URL, true
}

// stay is a client that follows no redirection.
var stay = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// send sends a form as somebody who is signed in with a key, and follows no redirection.
func (r *rig) send(key, path string, form url.Values, header ...string) (status int, to string, body []byte) {
	r.t.Helper()
	content := strings.NewReader(form.Encode())
	q := must(http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+path, content))(r.t)
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	q.AddCookie(&http.Cookie{Name: "qhook", Value: key})
	p := must(stay.Do(q))(r.t)
	defer p.Body.Close()
	return p.StatusCode, p.Header.Get("Location"), must(io.ReadAll(p.Body))(r.t)
}

// stepTime is how long one step may take.
const stepTime = 30 * time.Second

// inert fails the test when something on the page did what it should not, or could.
func (r *rig) inert(ctx context.Context, where string) {
	r.t.Helper()
	one, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	wrong, err := chromedp.Run(one, chromedp.Evaluate[string](`(() => {
		if (window.hit) return "a script ran";
		if (document.title.includes("hit") && !document.title.includes("<")) return "the title was changed";
		const bad = document.querySelector(
			"img, main script, main svg[onload], [onerror], [onload], iframe, object, embed");
		if (bad) return "there is " + bad.outerHTML;
		const odd = document.documentElement.outerHTML.match(
			/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
		return odd ? "there is a character U+" + odd[0].charCodeAt(0).toString(16) : "";
	})()`))
	if err != nil {
		r.t.Fatalf("%s: %v", where, err)
	}
	if wrong != "" {
		r.t.Errorf("%s: %s", where, wrong)
	}
}

// step is something that is done in the browser.
type step = chromedp.Action[chromedp.Void]

// do takes steps in the browser.
func (r *rig) do(ctx context.Context, steps ...step) {
	r.t.Helper()
	for i, s := range steps {
		one, cancel := context.WithTimeout(ctx, stepTime)
		err := chromedp.Do(one, s)
		cancel()
		if err == nil {
			continue
		}
		soon, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		at, _ := chromedp.Run(soon, chromedp.Location())
		text, _ := chromedp.Run(soon, chromedp.Evaluate[string](`document.body?.innerText ?? ""`))
		r.t.Fatalf("step %d at %s: %v; the page says:\n%.2000s", i+1, at, err, text)
	}
}

// signIn opens the link and presses its button.
func (r *rig) signIn(ctx context.Context) {
	r.t.Helper()
	r.do(ctx, chromedp.Navigate(r.link), press("Sign in"), chromedp.WaitVisible(`//h1[text()="Overview"]`))
}

// open goes to a page of the tenant default.
func (r *rig) open(path string) step { return chromedp.Navigate(r.url + "/t/default" + path) }

// press clicks on the first button or link that can be seen and has a text, when there is one.
func press(text string) step {
	b, _ := json.Marshal(text)
	return when("a button "+text, `(() => {
		const all = [...document.querySelectorAll("main a, button")];
		const x = all.find((x) => x.checkVisibility() && x.textContent.includes(`+string(b)+`));
		x?.click();
		return !!x;
	})()`)
}

// says waits until the page's content has a text.
func says(text string) step {
	b, _ := json.Marshal(text)
	return when("the page says "+text, `document.querySelector("main")?.innerText.includes(`+string(b)+`) ?? false`)
}

// when waits until an expression is true.
func when(what, expression string) step {
	return func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		for {
			// While a page is left there is nothing to ask.
			there, err := chromedp.Evaluate[bool](expression)(ctx, t)
			if err == nil && there {
				return v, nil
			}
			select {
			case <-ctx.Done():
				return v, fmt.Errorf("waiting until %s: %w (%v)", what, ctx.Err(), err)
			case <-time.After(30 * time.Millisecond):
			}
		}
	}
}
