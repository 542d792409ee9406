package ui_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"golang.org/x/net/html"
)

// tool is a file of the tools that judge pages.
func tool(t *testing.T, name ...string) string {
	t.Helper()
	file := filepath.Join(append([]string{"testdata", "node_modules"}, name...)...)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatalf("there is no %s", file)
		}
		t.Skipf("SKIPPED: there is no %s; run make test-tools", file)
	}
	file, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestAccessible has axe-core look at every page, light and dark, wide and narrow: WCAG 2.2 AA, and its best practices.
func TestAccessible(t *testing.T) {
	t.Parallel()
	axe := must(os.ReadFile(tool(t, "axe-core", "axe.min.js")))(t)
	r := newRig(t)
	ctx := r.browser()
	pages := r.filled()
	r.signIn(ctx)
	for scheme, width := range map[string]int64{"light": 1280, "dark": 390} {
		r.do(ctx, look(scheme, width, 860))
		for name, path := range pages {
			r.do(ctx, chromedp.Navigate(r.url+path), chromedp.WaitReady("//main"))
			if name == "empty" { // as it is when the server is away and the sign-in has ended
				r.do(ctx, when("it is told", `(() => {
					document.querySelectorAll("#state, #state p").forEach((x) => { x.hidden = false; });
					return true;
				})()`))
			}
			one, cancel := context.WithTimeout(ctx, stepTime)
			_, err := chromedp.Run(one, chromedp.Evaluate[any](string(axe)+";0"))
			found, err2 := chromedp.Run(one, chromedp.Evaluate[[]string](`axe.run().then((r) => {
				if (r.passes.length < 10) return ["only " + r.passes.length + " rules were applied"];
				const tell = (v, n) =>
					v.id + ": " + n.html.slice(0, 160) + " (" + n.failureSummary.replace(/\s+/g, " ") + ")";
				return r.violations.flatMap((v) => v.nodes.map((n) => tell(v, n)));
			})`, chromedp.EvalAwaitPromise))
			cancel()
			if err = errors.Join(err, err2); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, s := range found {
				t.Errorf("%s, %s: %s", name, scheme, s)
			}
		}
	}
}

// get reads a page as it is sent.
func (r *rig) get(key, path string) (status int, body []byte) {
	r.t.Helper()
	q := must(http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+path, nil))(r.t)
	q.AddCookie(&http.Cookie{Name: "qhook", Value: key})
	p := must(http.DefaultClient.Do(q))(r.t)
	defer p.Body.Close()
	return p.StatusCode, must(io.ReadAll(p.Body))(r.t)
}

// TestValid: every page is valid HTML, has a title of its own and one heading of the first level, and refers to no
// other host.
func TestValid(t *testing.T) {
	t.Parallel()
	validate := tool(t, "html-validate", "bin", "html-validate.mjs")
	r := newRig(t)
	key := must(r.operator.SignIn(t.Context()))(t).Key
	dir := t.TempDir()
	titles := map[string]string{}
	for name, path := range r.filled() {
		status, body := r.get(key, path)
		kind, _, _ := strings.Cut(name, "-")
		want, odd := map[string]int{"missing": 404, "wrong": 422}[kind]
		if !odd {
			want = 200
		}
		if status != want {
			t.Errorf("%s: status %d, want %d", name, status, want)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".html"), body, 0o600); err != nil {
			t.Fatal(err)
		}
		doc := must(html.Parse(bytes.NewReader(body)))(t)
		headings := 0
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if n.Data == "h1" {
				headings++
			}
			if n.Data == "title" && !slices.Contains([]string{"empty", "wrong", "same"}, kind) {
				if other, ok := titles[n.FirstChild.Data]; ok {
					t.Errorf("%s and %s have the same title %q", name, other, n.FirstChild.Data)
				}
				titles[n.FirstChild.Data] = name
			}
			if n.Data == "style" || n.Data == "script" && n.FirstChild != nil {
				t.Errorf("%s has a %s within the page", name, n.Data)
			}
			for _, a := range n.Attr {
				loads := slices.Contains([]string{"src", "href", "action", "data", "poster", "srcset"}, a.Key)
				foreign := strings.Contains(a.Val, "://") || strings.HasPrefix(a.Val, "//")
				if loads && foreign || strings.HasPrefix(a.Key, "on") || a.Key == "style" {
					t.Errorf("%s: <%s %s=%q>", name, n.Data, a.Key, a.Val)
				}
			}
		}
		if headings != 1 {
			t.Errorf("%s has %d headings of the first level, want 1", name, headings)
		}
	}
	config, _ := json.Marshal(map[string]any{"extends": []string{"html-validate:standard"}, "rules": map[string]any{
		"no-trailing-whitespace": "off", "element-permitted-content": "error"}})
	if err := os.WriteFile(filepath.Join(dir, ".htmlvalidate.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", validate, "--formatter", "text", dir+"/*.html")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("html-validate: %v\n%.6000s", err, strings.ReplaceAll(string(out), dir+"/", ""))
	}
}
