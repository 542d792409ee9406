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
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/receivers"
	"github.com/quantfolio/qhook/internal/webhook"
	"github.com/quantfolio/qhook/signature"
)

// run are the commands that run the programs, after the folder and the file are in place. What there is none of is not
// run.
var run = map[string][]string{
	"go": {"go", "run"}, "node": {"node"}, "python": {"python3"}, "java": {"java"}, "php": {"php", "-S",
		"127.0.0.1:PORT"},
}

// awkward are a path and a user name that a careless literal would break out of.
const (
	awkwardPath = `/a'b$%7Bx(y);z`
	awkwardName = "o'\"\\ ${x} #{y} */ <?php é"
)

func hook(url string, method webhook.Method, auth webhook.Auth, keys ...string) *webhook.Webhook {
	w := &webhook.Webhook{ID: "w", Tenant: "t", URL: url, Method: method, EventTypes: []string{"**"}, Auth: auth,
		Enabled: true, Timeout: 10 * time.Second}
	for i, k := range keys {
		w.SigningKeys = append(w.SigningKeys, webhook.SigningKey{ID: "k" + strconv.Itoa(i), Key: webhook.NewSecret(k)})
	}
	return w
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

// build makes the program of a language for a webhook, ready to be run.
func build(t *testing.T, language string, w *webhook.Webhook) (file string) {
	t.Helper()
	l, code, err := receivers.Code(language, w)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), l.File)
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	if language != "go" {
		return file
	}
	// Built, so that ending it ends the program and not only what runs it.
	if out, err := exec.Command("go", "build", "-o", file+".exe", file).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s\n%s", err, out, code)
	}
	return file + ".exe"
}

// command runs a program; env is all that is set of ours.
func command(t *testing.T, language, file string, port int, env ...string) (*exec.Cmd, *output) {
	t.Helper()
	var args []string
	if language != "go" {
		for _, a := range run[language] {
			args = append(args, strings.Replace(a, "PORT", strconv.Itoa(port), 1))
		}
	}
	args = append(args, file)
	out := new(output)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), out, out
	ours := func(s string) bool { return strings.HasPrefix(s, "QHOOK_") || strings.HasPrefix(s, "PORT=") }
	cmd.Env = append(append(slices.DeleteFunc(os.Environ(), ours), "PORT="+strconv.Itoa(port)), env...)
	return cmd, out
}

// start runs a program until the test ends.
func start(t *testing.T, language, file string, port int, env ...string) *output {
	t.Helper()
	cmd, out := command(t, language, file, port, env...)
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
			t.Fatalf("the program ended:\n%s", out)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the program does not listen:\n%s", out)
		}
	}
}

// runs tells whether the program can be run. Where its language is never here it is compared with what people read.
func runs(t *testing.T, l receivers.Language) bool {
	t.Helper()
	if run[l.ID] == nil {
		golden(t, l)
		t.Log("NOT RUN: no " + l.Name + " on this kind of machine; its program is compared with testdata")
		return false
	}
	if _, err := exec.LookPath(run[l.ID][0]); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("there is no %s", run[l.ID][0])
		}
		t.Skipf("SKIPPED: there is no %s", run[l.ID][0])
	}
	return true
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
			if !runs(t, l) {
				return
			}
			for name, w := range map[string]*webhook.Webhook{
				"POST": hook("", webhook.POST, webhook.Auth{Type: webhook.AuthBearer, Secret: secret}, key, old),
				"GET": hook("", webhook.GET,
					webhook.Auth{Type: webhook.AuthBasic, Username: awkwardName, Secret: secret}, key, old),
			} {
				port := pgtest.FreePort(t)
				w.URL = fmt.Sprintf("http://127.0.0.1:%d%s", port, awkwardPath)
				out := start(t, l.ID, build(t, l.ID, w), port, "QHOOK_SIGNING_KEY="+key, "QHOOK_SECRET=the secret")
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

// TestFailClosed runs each program without its key or its secret, and with what is none: it does not run, or where the
// language starts it anew for each request takes none, and says what is missing.
func TestFailClosed(t *testing.T) {
	const key, secret = "QHOOK_SIGNING_KEY", "QHOOK_SECRET"
	bearer := webhook.Auth{Type: webhook.AuthBearer, Secret: webhook.NewSecret("s")}
	basic := webhook.Auth{Type: webhook.AuthBasic, Username: "u", Secret: webhook.NewSecret("s")}
	header := webhook.Auth{Type: webhook.AuthAPIKey, Header: "X-Key", Secret: webhook.NewSecret("s")}
	hasKey, hasSecret := key+"="+signature.GenerateKey(), secret+"=s"
	const url = "http://127.0.0.1/hook"
	none := webhook.Auth{Type: webhook.AuthNone}
	for _, l := range receivers.Languages() {
		t.Run(l.ID, func(t *testing.T) {
			t.Parallel()
			if !runs(t, l) {
				return
			}
			refuses := func(missing, file string, env ...string) {
				t.Helper()
				says := failed(t, l.ID, file, env...)
				if !strings.Contains(says, missing) || strings.Contains(says, "whsec_AAAA") {
					t.Errorf("with %q it says %q, want that %s is wrong, and no key", env, says, missing)
				}
			}
			both := build(t, l.ID, hook(url, webhook.POST, bearer, "k"))
			refuses(key, both)
			for _, bad := range []string{"", " \t", "whsec_", "whsec_AAAA!", "whsec_AAAAA"} {
				refuses(key, both, hasSecret, key+"="+bad)
			}
			refuses(secret, both, hasKey)
			refuses(secret, both, hasKey, secret+"=")
			refuses(secret, both, hasKey, secret+"= ")
			refuses(secret, build(t, l.ID, hook(url, webhook.GET, basic)))
			refuses(secret, build(t, l.ID, hook(url, webhook.POST, header)), secret+"=")
			refuses(key, build(t, l.ID, hook(url, webhook.GET, none, "k")))
			start(t, l.ID, both, pgtest.FreePort(t), hasKey, hasSecret)
			start(t, l.ID, build(t, l.ID, hook(url, webhook.GET, none)), pgtest.FreePort(t)) // it checks nothing
		})
	}
}

// failed runs a program that must not take anything and returns what it says.
func failed(t *testing.T, language, file string, env ...string) string {
	t.Helper()
	port := pgtest.FreePort(t)
	if language == "php" {
		var out *output
		t.Run("", func(t *testing.T) { // at its end the program is, and all that it said has come
			out = start(t, language, file, port, env...)
			resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/hook", port), "application/json",
				strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusInternalServerError {
				t.Errorf("with %q the answer is %d, want 500", env, resp.StatusCode)
			}
		})
		return out.String()
	}
	cmd, out := command(t, language, file, port, env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("with %q the program ends with %v, want that it ends at once with status 1", env, err)
	}
	return out.String()
}

var update = flag.Bool("update", false, "write the programs that are not run to testdata")

// golden compares a program that is not run with the one that was read by people.
func golden(t *testing.T, l receivers.Language) {
	t.Helper()
	_, code, err := receivers.Code(l.ID,
		hook("https://example.com/hook", webhook.POST, webhook.Auth{Type: webhook.AuthBearer}, "a key"))
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
		t.Errorf("the program in %s is not %s (%v); read it, then run go test ./internal/receivers -update",
			l.Name, file, err)
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
		for _, auth := range []webhook.Auth{{Type: webhook.AuthNone},
			{Type: webhook.AuthBasic, Username: "u", Secret: webhook.NewSecret(canary)},
			{Type: webhook.AuthBearer, Secret: webhook.NewSecret(canary)}, {Type: webhook.AuthAPIKey, Header: "X-Key",
				Secret: webhook.NewSecret(canary)}} {
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
