package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/quantfolio/qhook/internal/pgserver"
)

const viaPrism = "QHOOK_TEST_PRISM" // in the environment of the tests whose calls go through Prism: its address

// rigs are those whose calls go through Prism, by number.
var rigs sync.Map

// upstream is what Prism stands before: it has each call answered by the rig that made it.
func upstream(w http.ResponseWriter, r *http.Request) {
	if v, ok := rigs.Load(r.Header.Get("X-Rig")); ok { // else it asks whether Prism is there
		r.Header.Del("X-Rig")
		v.(*rig).h.ServeHTTP(w, r)
	}
}

// takesIt tells whether Prism takes a request: it ends itself at a path or query that is no UTF-8, passes on no GET that
// has a body, and knows nothing of what the document leaves out.
func takesIt(req *http.Request) bool {
	text, err := url.PathUnescape(req.RequestURI)
	if req.ContentLength > 0 && (req.Method == http.MethodGet || req.Method == http.MethodDelete || req.URL.Path == "/v1/sign-in") {
		return false
	}
	return err == nil && utf8.ValidString(text) && strings.HasPrefix(req.URL.Path, "/v1/")
}

// through makes a call through Prism, which tells in a header what in request and answer is not as the document says.
func (r *rig) through(prism string, req *http.Request) *httptest.ResponseRecorder {
	id := fmt.Sprintf("%p", r)
	rigs.Store(id, r)
	out := req.Clone(context.Background())
	out.RequestURI, out.Host = "", ""
	out.URL.Scheme, out.URL.Host = "http", strings.TrimPrefix(prism, "http://")
	out.Header.Set("X-Rig", id)
	if req.ContentLength > 0 && out.Header.Get("Content-Type") == "" {
		out.Header.Set("Content-Type", "application/json") // Prism would say that it is text
	}
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		r.t.Errorf("%s %s through Prism: %v", req.Method, req.URL, err)
		return httptest.NewRecorder()
	}
	defer resp.Body.Close()
	w := httptest.NewRecorder()
	found := resp.Header.Get("Sl-Violations")
	resp.Header.Del("Sl-Violations")
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
	var list []struct {
		Location []string `json:"location"`
		Message  string   `json:"message"`
	}
	if err := json.Unmarshal([]byte(found), &list); found != "" && err != nil {
		r.t.Errorf("Prism says of %s %s: %q", req.Method, req.URL, found)
	}
	for _, v := range list {
		if len(v.Location) > 0 && v.Location[0] == "request" && (resp.StatusCode >= 400 || undocumented(req)) {
			continue
		}
		r.t.Errorf("Prism says of %s %s (%d): %s %s", req.Method, req.URL, resp.StatusCode, v.Location, v.Message)
	}
	return w
}

// undocumented tells whether the tests ask for what is taken although nobody should: classes of faults that are never
// shown, and those that are no class.
func undocumented(req *http.Request) bool {
	return slices.Contains([]string{"dns", "refused", "expired", "tls:expired"}, req.URL.Query().Get("last_class"))
}

// bytewise are the tests that Prism cannot pass on: it parses and writes bodies anew, merges headers and tidies paths.
const bytewise = "^(TestBodiesAreCounted|TestEveryRefusalIsAProblem|TestWhatIsRefused|TestPublishErrors|TestPublish|" +
	"TestAdvisoryLife|TestAdvisoryHostile|TestAdvisoryMergePatch|TestMintedKeysStayWithin|TestWrongInputs|" +
	"TestHeadersAsAnObject|TestWebhookLife|TestRequestsHaveTheirLimits|TestToolsTakeTheDocument)$"

// TestPrism runs the other tests once more with their calls through Prism, a proxy that holds every request and every
// answer against the document.
func TestPrism(t *testing.T) {
	if os.Getenv(viaPrism) != "" {
		return // this is that run
	}
	if os.Getenv("PRISM") == "" {
		t.Skip("SKIPPED: all of these tests once more, half a minute; make prism runs it")
	}
	prism, err := filepath.Abs(filepath.Join("testdata", "tools", "node_modules", ".bin", "prism"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(prism); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: there is no %s; run make test-tools", prism)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=.", "-test.skip="+bytewise, "-test.count=1", "-test.timeout=3m")
	cmd.Env = append(os.Environ(), viaPrism+"="+prism)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the tests through Prism: %v\n%s", err, out)
	}
}

// startPrism starts it before the upstream; its address is in viaPrism from then on.
func startPrism() (stop func(), _ error) {
	s := httptest.NewServer(http.HandlerFunc(upstream))
	port, err := pgserver.FreePort()
	if err != nil {
		return nil, err
	}
	at := fmt.Sprintf("http://127.0.0.1:%d", port)
	cmd := exec.Command(os.Getenv(viaPrism), "proxy", filepath.Join("testdata", "openapi.json"), s.URL,
		"-p", fmt.Sprint(port))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	said := bufio.NewScanner(out)
	for listens := false; !listens; {
		if !said.Scan() {
			return nil, errors.Join(errors.New("Prism ended before it listened"), said.Err(), cmd.Wait())
		}
		listens = strings.Contains(said.Text(), "is listening")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // a line for each request; it ends with Prism
	_ = os.Setenv(viaPrism, at)
	return func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); s.Close() }, nil
}
