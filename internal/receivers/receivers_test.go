package receivers_test

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/receivers"
	"github.com/quantfolio/qhook/internal/webhook"
	"github.com/quantfolio/qhook/signature"
)

// run are the commands that run the programs, after the folder and the file are in place. What there is none of is not run.
var run = map[string][]string{
	"go": {"go", "run"}, "node": {"node"}, "python": {"python3"}, "java": {"java"}, "php": {"php", "-S", "127.0.0.1:PORT"},
}

// awkward are a path and a user name that a careless literal would break out of.
const (
	awkwardPath = `/a'b$%7Bx(y);z`
	awkwardName = "o'\"\\ ${x} #{y} */ <?php é"
)

func hook(url string, method webhook.Method, auth webhook.Auth, keys ...string) *webhook.Webhook {
	w := &webhook.Webhook{ID: "w", Tenant: "t", URL: url, Method: method, EventTypes: []string{"**"}, Auth: auth, Enabled: true, Timeout: 10 * time.Second}
	for i, k := range keys {
		w.SigningKeys = append(w.SigningKeys, webhook.SigningKey{ID: "k" + strconv.Itoa(i), Key: webhook.NewSecret(k)})
	}
	return w
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// output is what a program prints, for when it fails.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs the program of a language for a webhook until the test ends.
func start(t *testing.T, language string, w *webhook.Webhook, port int, key, secret string) *output {
	t.Helper()
	l, code, err := receivers.Code(language, w)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), l.File)
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{}, run[language]...)
	for i := range args {
		args[i] = strings.Replace(args[i], "PORT", strconv.Itoa(port), 1)
	}
	if language == "go" { // built, so that ending it ends the program and not only what runs it
		binary := file + ".exe"
		if out, err := exec.Command("go", "build", "-o", binary, file).CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s\n%s", err, out, code)
		}
		args, file = []string{binary}, ""
	}
	if file != "" {
		args = append(args, file)
	}
	out := new(output)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), out, out
	cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "QHOOK_SIGNING_KEY="+key, "QHOOK_SECRET="+secret)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return out
		}
		select {
		case <-ended:
			t.Fatalf("the program ended:\n%s\n%s", out, code)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the program does not listen:\n%s", out)
		}
	}
}

// TestReceivers has the real sender send to each program: what is right is taken, and what is not is refused.
func TestReceivers(t *testing.T) {
	guard, err := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	sender := attempt.New(attempt.Config{Guard: guard})
	t.Cleanup(sender.Close)
	typ, _ := event.Lookup("qap.investor.created")
	key, old := signature.GenerateKey(), "an old key that was typed"
	secret := webhook.NewSecret("the secret")
	for _, l := range receivers.Languages() {
		t.Run(l.ID, func(t *testing.T) {
			t.Parallel()
			if run[l.ID] == nil {
				golden(t, l)
				t.Log("NOT RUN: no " + l.Name + " on this kind of machine; its program is compared with testdata")
				return
			}
			if _, err := exec.LookPath(run[l.ID][0]); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatalf("there is no %s", run[l.ID][0])
				}
				t.Skipf("SKIPPED: there is no %s", run[l.ID][0])
			}
			for name, w := range map[string]*webhook.Webhook{
				"POST": hook("", webhook.POST, webhook.Auth{Type: webhook.AuthBearer, Secret: secret}, key, old),
				"GET":  hook("", webhook.GET, webhook.Auth{Type: webhook.AuthBasic, Username: awkwardName, Secret: secret}, key, old),
			} {
				port := freePort(t)
				w.URL = fmt.Sprintf("http://127.0.0.1:%d%s", port, awkwardPath)
				out := start(t, l.ID, w, port, key, "the secret")
				send := func(w *webhook.Webhook) int {
					target, err := attempt.NewTarget(w)
					if err != nil {
						t.Fatal(err)
					}
					ev := typ.Example(time.Now())
					return sender.Send(t.Context(), target, &ev).Status
				}
				want := func(what string, got, want int) {
					t.Helper()
					if got != want {
						t.Errorf("%s %s: %d, want %d; the program says:\n%s", name, what, got, want, out)
					}
				}
				want("with both keys", send(w), http.StatusNoContent)
				one := *w
				one.SigningKeys = w.SigningKeys[1:]
				want("with the old key only", send(&one), http.StatusUnauthorized)
				one = *w
				one.SigningKeys = nil
				want("unsigned", send(&one), http.StatusUnauthorized)
				one = *w
				one.Auth.Secret = webhook.NewSecret("another")
				want("with another secret", send(&one), http.StatusUnauthorized)
				one = *w
				one.URL += "x"
				want("to another path", send(&one), http.StatusNotFound)
				want("too late", stale(t, w, &typ, true), http.StatusUnauthorized)
				want("in time", stale(t, w, &typ, false), http.StatusNoContent)
			}
		})
	}
}

var update = flag.Bool("update", false, "write the programs that are not run to testdata")

// golden compares a program that is not run with the one that was read by people.
func golden(t *testing.T, l receivers.Language) {
	t.Helper()
	_, code, err := receivers.Code(l.ID, hook("https://example.com/hook", webhook.POST, webhook.Auth{Type: webhook.AuthBearer}, "a key"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", l.File)
	if *update {
		if err := os.WriteFile(file, []byte(code), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != code {
		t.Errorf("the program in %s is not %s (%v); read it, then run go test ./internal/receivers -update", l.Name, file, err)
	}
}

// stale sends a request that was signed ten minutes ago, or now, with its secrets, as somebody who recorded it could.
func stale(t *testing.T, w *webhook.Webhook, typ *event.Type, late bool) int {
	t.Helper()
	target, err := attempt.NewTarget(w)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	if late {
		at = at.Add(-10 * time.Minute)
	}
	ev := typ.Example(at)
	p := target.Preview(&ev, at)
	r, err := http.NewRequestWithContext(t.Context(), p.Method, p.URL, bytes.NewReader(p.Body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range p.Headers {
		r.Header.Set(h[0], h[1])
	}
	if w.Auth.Type == webhook.AuthBasic {
		r.SetBasicAuth(w.Auth.Username, w.Auth.Secret.Reveal())
	} else {
		r.Header.Set("Authorization", "Bearer "+w.Auth.Secret.Reveal())
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestNoSecret: no program has a secret in it, and all can be filled in for every kind of webhook.
func TestNoSecret(t *testing.T) {
	const canary = "canary-secret-value"
	for _, l := range receivers.Languages() {
		for _, auth := range []webhook.Auth{{Type: webhook.AuthNone}, {Type: webhook.AuthBasic, Username: "u", Secret: webhook.NewSecret(canary)},
			{Type: webhook.AuthBearer, Secret: webhook.NewSecret(canary)}, {Type: webhook.AuthAPIKey, Header: "X-Key", Secret: webhook.NewSecret(canary)}} {
			for _, method := range []webhook.Method{webhook.POST, webhook.GET} {
				_, code, err := receivers.Code(l.ID, hook("https://example.com/hook", method, auth, canary))
				if err != nil || strings.Contains(code, canary) || !strings.Contains(code, "/hook") {
					t.Errorf("Code(%s, %s, %s): %v, or a secret in it, or no path", l.ID, method, auth.Type, err)
				}
			}
		}
	}
	if _, _, err := receivers.Code("cobol", hook("https://example.com/", webhook.POST, webhook.Auth{})); err == nil {
		t.Error("Code(cobol) = nil, want an error")
	}
}
