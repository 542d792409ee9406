package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// canary begins every secret of the test; none has a character that escapes change, so that it is found however it is
// shown.
const canary = "cnry7f3a"

// echo is a receiver that answers with all that it was sent, as is and escaped, in headers and in the body; 200 to
// every other request, so that deliveries both fail and succeed.
func echo(t *testing.T) *httptest.Server {
	var mu sync.Mutex
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		all := fmt.Sprint(r.Method, " ", r.URL, "\n", r.Header, "\n", user, ":", password, "\n", string(body))
		asJSON, _ := json.Marshal(all)
		for name, values := range r.Header {
			for _, v := range values {
				w.Header().Add("X-Echo-"+name, v)
				w.Header().Add("X-Echo-Escaped-"+name, url.QueryEscape(v))
			}
		}
		w.Header().Set("X-Echo-Password", password)
		mu.Lock()
		if n++; n%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		mu.Unlock()
		_, _ = fmt.Fprintf(w, "%s\n%s\n%s\n", all, asJSON, url.QueryEscape(all))
	}))
	t.Cleanup(s.Close)
	return s
}

// logBuffer is a log that is written by many.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestCanaryOfEchoes: a canary in every secret field of webhooks whose receivers answer with all that they were sent is
// found in nothing that the server writes, serves and stores.
func TestCanaryOfEchoes(t *testing.T) {
	t.Parallel()
	data, log := t.TempDir(), new(logBuffer)
	admin := canary + "-admin-key-with-enough-characters"
	a, err := app.New(t.Context(), app.Config{Listen: "127.0.0.1:0", Data: data, AdminKey: admin, AllowNetwork: []string{"127.0.0.0/8"},
		Concurrency: 4, Retention: time.Hour, UndeleteTime: time.Hour, StopTimeout: 5 * time.Second},
		slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() { _ = a.Stop(context.Background()) })
	t.Cleanup(stop)
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, c, target := t.Context(), client.New(a.URL(), admin), echo(t).URL+"/hook?x=1"
	var hooks []string
	for i, auth := range []client.Auth{{Type: client.AuthBasic, Username: "bank", Password: canary + "-password"},
		{Type: client.AuthBearer, Token: canary + "-token"}, {Type: client.AuthAPIKey, Header: "X-Key",
			Value: canary + "-value"}} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			w := must(c.CreateWebhook(ctx,
				client.NewWebhook{URL: target, Method: method, EventTypes: []string{"**"}, Auth: &auth,
					Headers:    []client.Header{{Name: "X-Team", Value: fmt.Sprint(canary, "-header-", i)}},
					SigningKey: canary + "-signing-key", RetrySchedule: []client.Duration{client.Duration(time.Second)}}))(t)
			hooks = append(hooks, w.ID)
		}
	}
	var shown []any
	for _, id := range hooks {
		shown = append(shown, must(c.TestWebhook(ctx, id, ""))(t))
	}
	for range 4 {
		must(c.Publish(ctx, client.Event{Type: "qap.investor.created", ObjectID: "i", ObjectOwnerID: "o", OwnerID: "w"}))(t)
	}
	for { // until all have an attempt on record, and some failed
		page := must(c.Deliveries(ctx, client.DeliveryQuery{Limit: 200}))(t)
		tried, failed := 0, 0
		for _, d := range page.Deliveries {
			if d.Attempts > 0 {
				tried++
			}
			if d.LastStatus == http.StatusInternalServerError {
				failed++
			}
		}
		if tried == 4*len(hooks) && failed > 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	link := must(c.CreateLink(ctx, client.NewLink{Role: client.RoleViewer, WebhookID: hooks[0]}))(t)
	_, token, _ := strings.Cut(link.Path, "token=")
	viewer := must(client.New(a.URL(), token).SignIn(ctx))(t)

	look := func(where, text string) {
		t.Helper()
		if i := strings.Index(text, canary); i >= 0 {
			t.Errorf("%s shows a secret: …%s…", where, text[max(0, i-80):min(len(text), i+80)])
		}
	}
	get := func(path, key string, cookie bool) {
		t.Helper()
		req := must(http.NewRequestWithContext(ctx, http.MethodGet, a.URL()+path, nil))(t)
		req.Header.Set("Authorization", "Bearer "+key)
		if cookie {
			req.Header.Del("Authorization")
			req.AddCookie(&http.Cookie{Name: "qhook", Value: key})
		}
		r := must(http.DefaultClient.Do(req))(t)
		defer r.Body.Close()
		b := must(io.ReadAll(r.Body))(t)
		if r.StatusCode >= 400 {
			t.Errorf("GET %s = %d %s", path, r.StatusCode, b)
		}
		look("GET "+path+fmt.Sprint(r.Header), string(b))
	}
	look("a test", fmt.Sprintf("%+v", shown))
	operator := must(c.SignIn(ctx))(t)
	deliveries := must(c.Deliveries(ctx, client.DeliveryQuery{Limit: 200}))(t).Deliveries
	for _, d := range deliveries {
		get("/v1/deliveries/"+d.ID, admin, false)
		get("/t/default/deliveries/"+d.ID, operator.Key, true)
		if d.WebhookID == hooks[0] {
			get("/v1/deliveries/"+d.ID, viewer.Key, false)
			get("/t/default/deliveries/"+d.ID, viewer.Key, true)
		}
	}
	for _, id := range hooks {
		for _, path := range []string{"", "/edit", "/key", "/test", "/verify"} {
			get("/t/default/webhooks/"+id+path, operator.Key, true)
		}
		get("/v1/webhooks/"+id, admin, false)
	}
	for _, path := range []string{"/v1/webhooks", "/v1/deliveries", "/v1/events", "/v1/stats", "/v1/stats/webhooks",
		"/v1/api-keys", "/metrics", "/openapi.json"} {
		get(path, admin, false)
	}
	for _, path := range []string{"/t/default/", "/t/default/webhooks", "/t/default/deliveries", "/t/default/events",
		"/t/default/access", "/t/default/live"} {
		get(path, operator.Key, true)
	}
	stop()
	look("the log", log.String())
	err = filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			look("the file "+filepath.Base(path), string(must(os.ReadFile(path))(t)))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
