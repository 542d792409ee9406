package receivers_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/signature"
)

// TestShortVerifier runs the function that docs/receiving.md shows, on what is right and on what is not.
func TestShortVerifier(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: there is no node")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "receiving.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```js\n(.*?)```").FindStringSubmatch(string(text))
	if code == nil {
		t.Fatal("docs/receiving.md has no verifier")
	}
	type request struct {
		Content, Key string
		Headers      map[string]string
		Now          int64
		Right        bool
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix()
	var list []request
	for _, key := range []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a typed key", "schlüssel 🙂"} {
		for _, content := range []string{`{"id":"é"}`, "source=a%20b&id=1&type=qap.investor.created"} {
			signed := func(key string) string {
				return string(signature.NewSigner(key).AppendStandard(nil, "the-id", now, []byte(content)))
			}
			headers := func(signatures string) map[string]string {
				return map[string]string{"webhook-id": "the-id", "webhook-timestamp": strconv.FormatInt(now, 10),
					"webhook-signature": signatures}
			}
			good := signed(key)
			other := headers(good)
			other["webhook-id"] = "another"
			list = append(list,
				request{content, key, headers(good), now, true}, request{content, key,
					headers(signed("an older key") + " " + good), now + 300, true},
				request{content, key, headers("v2,x v1, " + good), now - 300, true},
				request{content, key, headers(good), now + 301, false}, request{content, key, headers(good),
					now - 301, false},
				request{content + " ", key, headers(good), now, false}, request{content, "whsec_AAAA", headers(good),
					now, false},
				request{content, key, other, now, false}, request{content, key, headers("v1,"), now, false},
				request{content, key, headers(strings.Replace(good, "v1,", "v2,", 1)), now, false},
				request{content, key, headers(""), now, false}, request{content, key, map[string]string{}, now, false})
			h := http.Header{"Webhook-Id": {"the-id"}, "Webhook-Timestamp": {strconv.FormatInt(now, 10)},
				"Webhook-Signature": {good}}
			if err := signature.VerifyStandard(key, h, []byte(content), time.Unix(now, 0),
				signature.DefaultTolerance); err != nil {
				t.Fatalf("what is right is %v", err)
			}
		}
	}
	cases, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	program := code[1] + `
for (const c of ` + string(cases) + `) {
  for (const content of [c.Content, Buffer.from(c.Content)]) {
    if (verify(content, c.Headers, c.Key, c.Now) !== c.Right) console.log("not", JSON.stringify(c));
  }
}
console.log("done");`
	file := filepath.Join(t.TempDir(), "verify.mjs")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, file).CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "done" {
		t.Errorf("the verifier: %v\n%s", err, got)
	}
}
