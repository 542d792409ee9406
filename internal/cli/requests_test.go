package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/signature"
)

// exampleKey is the signing key on the page.
const exampleKey = "an example signing key, 32 bytes"

// catcher is a receiver that writes down the bytes of each request.
type catcher struct {
	net.Listener
	caught chan string
}

func newCatcher(t *testing.T) *catcher {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &catcher{l, make(chan string, 100)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn)
		}
	}()
	return c
}

func (c *catcher) serve(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		c.caught <- raw.String() // the sender waits for the answer before it goes on
		raw.Reset()
		if _, err := io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
			return
		}
	}
}

// started is a server that runs until the test ends.
func started(t *testing.T, cfg app.Config) *app.App {
	t.Helper()
	cfg.Data, cfg.AdminKey, cfg.Retention, cfg.UndeleteTime = t.TempDir(), strings.Repeat("k", 32), time.Hour, time.Hour
	cfg.Concurrency, cfg.StopTimeout = 32, time.Second
	a, err := app.New(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// capture makes the changes and returns, by event type, what caused the event and its two requests.
func capture(t *testing.T) map[string]string {
	t.Helper()
	a := started(t, app.Config{Listen: "127.0.0.1:0", Advisory: true, AllowNetwork: []string{"127.0.0.0/8"}})
	c := newCatcher(t)
	firm := client.New(a.URL(), strings.Repeat("k", 32))
	base, all := "http://"+c.Addr().String(), []string{"**"}
	_, err1 := firm.CreateWebhook(t.Context(),
		client.NewWebhook{URL: base + "/hooks/crm", Method: "POST", EventTypes: all, SigningKey: exampleKey,
			Auth: &client.Auth{Type: client.AuthBasic, Username: "crm",
				Password: "example"}, Headers: []client.Header{{Name: "X-Source", Value: "advisory"}}})
	_, err2 := firm.CreateWebhook(t.Context(),
		client.NewWebhook{URL: base + "/hooks/ping?source=advisory", Method: "GET", EventTypes: all,
			SigningKey: exampleKey,
			Auth:       &client.Auth{Type: client.AuthAPIKey, Header: "X-Api-Key", Value: "example"}})
	ann, err3 := firm.CreateAdvisor(t.Context(), client.NewAdvisor{Name: "Ann"}, "")
	key, err4 := firm.CreateAPIKey(t.Context(), client.NewAPIKey{Role: client.RoleAdvisor, AdvisorID: ann.ID})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return c.story(t, firm, client.New(a.URL(), key.Key))
}

// story makes one change of each type, by the firm or by an advisor, and collects its requests.
func (c *catcher) story(t *testing.T, firm, advisor *client.Client) map[string]string {
	t.Helper()
	ctx := t.Context()
	var i client.Investor
	var s client.AdviceSession
	found := map[string]string{}
	step := func(kind, says string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		found[kind] = says + "\n\n" + c.pair(t)
	}
	step("qap.investor.created", "An advisor created an investor, `POST /v1/investors` with the advisor's API key; so the advisor is the owner.", func() (err error) {
		i, err = advisor.CreateInvestor(ctx, client.NewInvestor{Type: "person", Name: "John Doe"}, "")
		return err
	})
	step("qap.investor.updated", "The firm changed the investor's name, `PATCH /v1/investors/{id}` with the firm's API key; so the client is the owner.", func() error {
		_, err := firm.UpdateInvestor(ctx, i.ID, "", client.Patch{"investor_name": "John Dorian"})
		return err
	})
	step("qap.investor.advice.created",
		"An advisor began an advice session, `POST /v1/investors/{id}/advice-sessions`.", func() (err error) {
			s, err = advisor.CreateAdviceSession(ctx, i.ID, client.NewAdviceSession{Title: "Retirement plan"}, "")
			return err
		})
	step("qap.investor.advice.completed", "The advisor completed it, `POST /v1/advice-sessions/{id}/complete`.",
		func() error {
			_, err := advisor.CompleteAdviceSession(ctx, s.ID)
			return err
		})
	step("qap.investor.advice.report.created",
		"The advisor made a report of it, `POST /v1/advice-sessions/{id}/reports`.", func() error {
			_, err := advisor.CreateReport(ctx, s.ID, "")
			return err
		})
	step("qap.investor.advice.soft_deleted", "The advisor soft-deleted it, `DELETE /v1/advice-sessions/{id}`.",
		func() error {
			return advisor.DeleteAdviceSession(ctx, s.ID, false)
		})
	step("qap.investor.advice.deleted",
		"The firm deleted it permanently, `DELETE /v1/advice-sessions/{id}?permanent=true`.", func() error {
			return firm.DeleteAdviceSession(ctx, s.ID, true)
		})
	step("qap.investor.soft_deleted", "The advisor soft-deleted the investor, `DELETE /v1/investors/{id}`.",
		func() error {
			return advisor.DeleteInvestor(ctx, i.ID, false)
		})
	step("qap.investor.deleted", "The firm deleted the investor permanently, `DELETE /v1/investors/{id}?permanent=true`.", func() error {
		return firm.DeleteInvestor(ctx, i.ID, true)
	})
	return found
}

// pair waits for a POST and a GET and shows them as blocks.
func (c *catcher) pair(t *testing.T) string {
	t.Helper()
	by := map[string]string{}
	for len(by) < 2 {
		select {
		case raw := <-c.caught:
			method, _, _ := strings.Cut(raw, " ")
			if by[method] != "" {
				t.Fatalf("a second %s for one change:\n%s", method, raw)
			}
			host := regexp.MustCompile(`(?m)^Host: .*$`).ReplaceAllString(strings.ReplaceAll(raw, "\r\n", "\n"),
				"Host: crm.example.com")
			by[method] = "```http\n" + strings.TrimRight(host, "\n") + "\n```\n"
		case <-time.After(20 * time.Second):
			t.Fatalf("only %d of 2 requests arrived", len(by))
		}
	}
	return by["POST"] + "\n" + by["GET"]
}

const requestsHead = `# What a receiver gets

One captured request for each event type, by POST and by GET, as it arrived; only the host's name was replaced. They come
from changes made through the API of [the advisory platform](advisory.md); a test captures them anew and compares.

Both webhooks have the signing key ` + "`" + exampleKey + "`" + `. To check one by hand, sign the body of the POST, or for the GET
everything after the ` + "`?`" + `:

    printf %s "$CONTENT" | openssl dgst -sha256 -hmac '` + exampleKey + `'

`

// TestRequestsPage keeps docs/requests.md true: it captures the requests anew, and compares them with the page but for
// what differs each time. Every signature on the page verifies with the key that it names.
func TestRequestsPage(t *testing.T) {
	t.Parallel()
	found := capture(t)
	var b strings.Builder
	b.WriteString(requestsHead)
	for _, kind := range event.Catalogue() {
		fmt.Fprintf(&b, "## %s\n\n%s\n", kind.Name, found[kind.Name])
	}
	now := strings.TrimRight(b.String(), "\n") + "\n"
	path := filepath.Join("..", "..", "docs", "requests.md")
	if *update {
		if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(path)
	if err != nil || mask(string(page)) != mask(now) {
		t.Errorf("%s shows other requests than are sent (%v); run: go test ./internal/cli -run RequestsPage -update",
			path, err)
	}
	verified := 0
	for _, block := range strings.Split(string(page), "```http\n")[1:] {
		raw, _, _ := strings.Cut(block, "\n```")
		verifyRequest(t, raw)
		verified++
	}
	if verified != 18 {
		t.Errorf("%d requests on the page, want 18", verified)
	}
}

// verifyRequest checks both signatures of a request on the page.
func verifyRequest(t *testing.T, raw string) {
	t.Helper()
	head, body, _ := strings.Cut(raw, "\n\n")
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") +
		"\r\n\r\n")))
	if err != nil {
		t.Fatalf("no request: %v\n%s", err, raw)
	}
	content := []byte(body)
	if req.Method == http.MethodGet {
		content = []byte(req.URL.RawQuery)
	}
	// The page's command says the same.
	cmd := exec.Command("sh", "-c", `printf %s "$CONTENT" | openssl dgst -sha256 -hmac '`+exampleKey+`'`)
	cmd.Env = append(os.Environ(), "CONTENT="+string(content))
	if out, err := cmd.CombinedOutput(); err != nil ||
		!strings.Contains(string(out), strings.TrimPrefix(req.Header.Get(signature.HeaderQuantfolio), "sha256=")) {
		t.Errorf("openssl = %s, %v, want the signature of\n%s", out, err, raw)
	}
	if err := signature.Verify(exampleKey, content, req.Header.Get(signature.HeaderQuantfolio)); err != nil {
		t.Errorf("%v of\n%s", err, raw)
	}
	seconds, _ := strconv.ParseInt(req.Header.Get("webhook-timestamp"), 10, 64)
	if err := signature.VerifyStandard(exampleKey, req.Header, content, time.Unix(seconds, 0), 0); err != nil {
		t.Errorf("%v of\n%s", err, raw)
	}
	if n := req.Header.Get("Content-Length"); n != "" && n != strconv.Itoa(len(body)) {
		t.Errorf("Content-Length is %s of %d bytes:\n%s", n, len(body), raw)
	}
	if _, err := url.ParseQuery(req.URL.RawQuery); err != nil {
		t.Errorf("query: %v of\n%s", err, raw)
	}
}

// mask replaces what differs each time: IDs by their number on the page, so that which are equal still shows.
func mask(page string) string {
	numbers := map[string]string{}
	page = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).ReplaceAllStringFunc(page,
		func(id string) string {
			if numbers[id] == "" {
				numbers[id] = fmt.Sprintf("<id %d>", len(numbers)+1)
			}
			return numbers[id]
		})
	for _, x := range []struct{ pattern, with string }{
		{`20\d\d-\d\d-\d\dT\d\d(:|%3A)\d\d(:|%3A)\d\d\.\d{3}Z`, "<time>"},
		{`sha256=[0-9a-f]{64}`, "<hex>"},
		{`(?i)(webhook-timestamp: )\d+`, "${1}<seconds>"},
		{`v1,[A-Za-z0-9+/]+=*`, "<base64>"},
	} {
		page = regexp.MustCompile(x.pattern).ReplaceAllString(page, x.with)
	}
	return page
}
