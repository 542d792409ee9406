package client_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/client"
)

var update = flag.Bool("update", false, "write the generated part of docs/receiving.md")

// TestErrorClassesAreWhole: each has short sentences, and is there once.
func TestErrorClassesAreWhole(t *testing.T) {
	t.Parallel()
	seen := map[[3]string]bool{}
	last := map[string]client.ErrorClass{}
	for i, e := range client.ErrorClasses {
		key := [3]string{e.Class, e.Reason, e.Status}
		if seen[key] {
			t.Errorf("%v is there twice", key)
		}
		seen[key] = true
		if (e.Reason != "") != (e.Class == "tls") || e.Status != "" && e.Class != "http_status" {
			t.Errorf("%v has a reason or a status of another class", key)
		}
		if before := last[e.Class]; before.Class != "" && client.ErrorClasses[i-1].Class != e.Class {
			t.Errorf("the lines of class %s are not together", e.Class)
		}
		last[e.Class] = e
		for _, s := range []string{e.Means, e.Cause, e.Do} {
			if len(s) < 10 || len(s) > 150 || !strings.HasSuffix(s, ".") || strings.ContainsAny(s, "|<>`\n") {
				t.Errorf("%v: %q is no short sentence of plain text", key, s)
			}
		}
	}
	for _, want := range strings.Fields("http_status redirect timeout connect address proxy tls connection_lost " +
		"bad_response too_large cancelled local") {
		if e := last[want]; e.Class == "" || e.Status != "" || e.Reason != "" && e.Reason != "other" {
			t.Errorf("the last of class %s is %v, want one for all that the others do not name", want, e)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		class, reason string
		status        int
		want          string // in the words; empty: there are none
	}{
		{"http_status", "", 401, "authentication"}, {"http_status", "", 403, "not allowed"},
		{"http_status", "", 404, "nothing at the webhook's URL"}, {"http_status", "", 405, "method"},
		{"http_status", "", 408, "waited"}, {"http_status", "", 410, "switches the webhook off"},
		{"http_status", "", 413, "300 KiB"}, {"http_status", "", 415, "JSON"}, {"http_status", "", 429, "Retry-After"},
		{"http_status", "", 500, "5xx"}, {"http_status", "", 599, "5xx"}, {"http_status", "", 400, "with an error"},
		{"http_status", "", 0, "with an error"}, {"redirect", "", 301, "not followed"},
		{"timeout", "", 0, "2xx at once"},
		{"tls", "client_certificate", 0, "client certificate"}, {"tls", "expired", 0, "Renew it"},
		{"tls", "wrong_name", 0, "other names"}, {"tls", "unknown_issuer", 0, "intermediate certificate"},
		{"tls", "unknown_issuer", 0, "openssl s_client -connect host:443 -servername host"},
		{"tls", "old_version", 0, "TLS 1.1 or older"}, {"tls", "hello_dropped", 0, "--tls-small-hello"},
		{"tls", "other", 0, "no trusted TLS"}, {"tls", "", 0, "no trusted TLS"}, {"tls", "new", 0, "no trusted TLS"},
		{"proxy", "", 0, "operator's proxy"}, {"timeout", "expired", 500, "2xx at once"},
		{"new", "", 0, ""}, {"", "", 200, ""},
	} {
		got := client.Explain(tt.class, tt.reason, tt.status)
		if got.Class != tt.class && tt.class != "" || !strings.Contains(got.String(), tt.want) ||
			(tt.want == "") != (got.String() == "") {
			t.Errorf("Explain(%q, %q, %d) = %v, want words with %q", tt.class, tt.reason, tt.status, got, tt.want)
		}
	}
}

// TestFailureTable keeps docs/receiving.md what the API says of errors.
func TestFailureTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| class | what it means | usual cause | what to do |\n| --- | --- | --- | --- |\n")
	for _, e := range client.ErrorClasses {
		name := "`" + e.Class + "`"
		if more := e.Status + e.Reason; more != "" {
			name += " `" + more + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, e.Means, e.Cause, e.Do)
	}
	path := filepath.Join("..", "docs", "receiving.md")
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), "| class | ")
	if !ok || !strings.Contains(before, "## When a delivery fails\n") {
		t.Fatalf("%s has no table of classes under When a delivery fails", path)
	}
	_, after, _ := strings.Cut(rest, "\n\n")
	want := before + b.String()
	if after != "" {
		want += "\n" + after
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(doc) != want {
		t.Errorf("%s is not what the API says; run: go test ./client -run FailureTable -update", path)
	}
}
