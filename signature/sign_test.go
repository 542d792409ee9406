package signature

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"
)

// publishedKey and the rest are the vector in the Standard Webhooks libraries'
// own tests (libraries v0.0.1, go/webhook_test.go, TestWebhookSign).
const (
	publishedKey       = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	publishedID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	publishedUnix      = 1614265330
	publishedContent   = `{"test": 2432232314}`
	publishedSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

type vector struct {
	Name       string `json:"name"`
	Key        string `json:"key"`
	Secret     string `json:"secret"`
	ID         string `json:"id"`
	Timestamp  int64  `json:"timestamp"`
	Content    string `json:"content"`
	Quantfolio string `json:"quantfolio"`
	Standard   string `json:"standard"`
}

func mustVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []vector }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) == 0 {
		t.Fatal("testdata/vectors.json has no vectors")
	}
	return f.Vectors
}

func mustLibrary(t testing.TB, secret string) *standardwebhooks.Webhook {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func standardHeader(id string, unix int64, sig string) http.Header {
	h := http.Header{}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, strconv.FormatInt(unix, 10))
	h.Set(HeaderSignature, sig)
	return h
}

func TestPublishedVector(t *testing.T) {
	t.Parallel()
	at := time.Unix(publishedUnix, 0)
	library, err := mustLibrary(t, publishedKey).Sign(publishedID, at, []byte(publishedContent))
	if err != nil {
		t.Fatal(err)
	}
	if library != publishedSignature {
		t.Errorf("library Sign = %s, want %s", library, publishedSignature)
	}
	if got := Standard(StandardKey(publishedKey), publishedID, at,
		[]byte(publishedContent)); got != publishedSignature {
		t.Errorf("Standard(published) = %s, want %s", got, publishedSignature)
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range mustVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			content, at := []byte(v.Content), time.Unix(v.Timestamp, 0)
			if got := Quantfolio([]byte(v.Key), content); got != v.Quantfolio {
				t.Errorf("Quantfolio = %s, want %s", got, v.Quantfolio)
			}
			if got := Standard(StandardKey(v.Key), v.ID, at, content); got != v.Standard {
				t.Errorf("Standard = %s, want %s", got, v.Standard)
			}
			if got := SecretForm(v.Key); got != v.Secret {
				t.Errorf("SecretForm = %s, want %s", got, v.Secret)
			}
			s := NewSigner(v.Key)
			for range 2 { // the second time from the pool
				if got := string(s.AppendQuantfolio([]byte("x"), content)); got != "x"+v.Quantfolio {
					t.Errorf("AppendQuantfolio = %s, want x%s", got, v.Quantfolio)
				}
				if got := string(s.AppendStandard([]byte("x"), v.ID, v.Timestamp, content)); got != "x"+v.Standard {
					t.Errorf("AppendStandard = %s, want x%s", got, v.Standard)
				}
			}
			if err := Verify(v.Key, content, v.Quantfolio); err != nil {
				t.Errorf("Verify = %v, want nil", err)
			}
			h := standardHeader(v.ID, v.Timestamp, v.Standard)
			if err := VerifyStandard(v.Key, h, content, at, 0); err != nil {
				t.Errorf("VerifyStandard = %v, want nil", err)
			}
			if err := mustLibrary(t, v.Secret).VerifyIgnoringTimestamp(content, h); err != nil {
				t.Errorf("library Verify = %v, want nil", err)
			}
		})
	}
}

// TestRFC4231 holds the HMAC itself to RFC 4231, section 4. Test case 5 is left
// out: it is about truncated output.
func TestRFC4231(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte{0xaa}, 131)
	for _, tt := range []struct {
		name      string
		key, data []byte
		want      string
	}{
		{"case 1", bytes.Repeat([]byte{0x0b}, 20), []byte("Hi There"),
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{"case 2", []byte("Jefe"), []byte("what do ya want for nothing?"),
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"case 3", bytes.Repeat([]byte{0xaa}, 20), bytes.Repeat([]byte{0xdd}, 50),
			"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
		{"case 4", mustHex(t, "0102030405060708090a0b0c0d0e0f10111213141516171819"), bytes.Repeat([]byte{0xcd}, 50),
			"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
		{"case 6", long, []byte("Test Using Larger Than Block-Size Key - Hash Key First"),
			"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
		{"case 7", long, []byte("This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm."), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
	} {
		if got := Quantfolio(tt.key, tt.data); got != "sha256="+tt.want {
			t.Errorf("%s: Quantfolio = %s, want sha256=%s", tt.name, got, tt.want)
		}
		if got := string(NewSigner(string(tt.key)).AppendQuantfolio(nil, tt.data)); got != "sha256="+tt.want {
			t.Errorf("%s: AppendQuantfolio = %s, want sha256=%s", tt.name, got, tt.want)
		}
	}
}

func TestOpenSSL(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("this test needs openssl: %v", err)
	}
	run := func(key, content []byte) string {
		cmd := exec.Command(path, "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(key), "-r")
		cmd.Stdin = bytes.NewReader(content)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("openssl: %v: %s", err, out)
		}
		sum, _, _ := strings.Cut(string(out), " ")
		return sum
	}
	for _, v := range mustVectors(t) {
		if got, want := Quantfolio([]byte(v.Key), []byte(v.Content)), "sha256="+run([]byte(v.Key),
			[]byte(v.Content)); got != want {
			t.Errorf("%s: Quantfolio = %s, want openssl's %s", v.Name, got, want)
		}
		key := StandardKey(v.Key)
		sum := mustHex(t, run(key, fmt.Appendf(nil, "%s.%d.%s", v.ID, v.Timestamp, v.Content)))
		want := "v1," + base64.StdEncoding.EncodeToString(sum)
		if got := Standard(key, v.ID, time.Unix(v.Timestamp, 0), []byte(v.Content)); got != want {
			t.Errorf("%s: Standard = %s, want openssl's %s", v.Name, got, want)
		}
	}
	// The spelling that receivers' documentation shows.
	cmd := exec.Command(path, "dgst", "-sha256", "-hmac", publishedKey)
	cmd.Stdin = strings.NewReader(publishedContent)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl dgst -sha256 -hmac: %v: %s", err, out)
	}
	want := strings.TrimPrefix(Quantfolio([]byte(publishedKey), []byte(publishedContent)), "sha256=")
	if !strings.HasSuffix(strings.TrimSpace(string(out)), " "+want) {
		t.Errorf("openssl dgst -sha256 -hmac = %q, want it to end in %s", out, want)
	}
}

// TestLibraryAgrees signs here and verifies there, and the other way round.
func TestLibraryAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.StringN(1, 100, -1).Draw(rt, "key")
		id := rapid.StringMatching(`[a-z0-9_-]{1,40}`).Draw(rt, "id")
		content := rapid.SliceOf(rapid.Byte()).Draw(rt, "content")
		now := time.Now()
		library, err := standardwebhooks.NewWebhook(SecretForm(key))
		if err != nil {
			rt.Fatalf("library NewWebhook(SecretForm(%q)) = %v, want nil", key, err)
		}
		ours := string(NewSigner(key).AppendStandard(nil, id, now.Unix(), content))
		if err := library.Verify(content, standardHeader(id, now.Unix(), ours)); err != nil {
			rt.Fatalf("library Verify of our signature = %v, want nil", err)
		}
		theirs, err := library.Sign(id, now, content)
		if err != nil {
			rt.Fatal(err)
		}
		if err := VerifyStandard(key, standardHeader(id, now.Unix(), theirs), content, now, 0); err != nil {
			rt.Fatalf("VerifyStandard of the library's signature = %v, want nil", err)
		}
	})
}

func TestGenerateKey(t *testing.T) {
	t.Parallel()
	a, b := GenerateKey(), GenerateKey()
	if a == b {
		t.Error("GenerateKey returned the same key twice")
	}
	if got := len(StandardKey(a)); got != 32 {
		t.Errorf("len(StandardKey(GenerateKey())) = %d, want 32", got)
	}
	if got := SecretForm(a); got != a {
		t.Error("SecretForm(GenerateKey()) differs from the key")
	}
}

func TestSecretFormOfNothing(t *testing.T) {
	t.Parallel()
	if got := SecretForm(""); got != "" {
		t.Errorf("SecretForm(\"\") = %q, want \"\"", got)
	}
}

func TestSignerConcurrent(t *testing.T) {
	t.Parallel()
	s := NewSigner(publishedKey)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			content := fmt.Appendf(nil, `{"g":%d}`, g)
			m := hmac.New(sha256.New, []byte(publishedKey))
			m.Write(content)
			want := "sha256=" + hex.EncodeToString(m.Sum(nil))
			wantStandard := Standard(StandardKey(publishedKey), "id", time.Unix(int64(g), 0), content)
			for range 200 {
				if got := string(s.AppendQuantfolio(nil, content)); got != want {
					t.Errorf("AppendQuantfolio = %s, want %s", got, want)
				}
				if got := string(s.AppendStandard(nil, "id", int64(g), content)); got != wantStandard {
					t.Errorf("AppendStandard = %s, want %s", got, wantStandard)
				}
			}
		})
	}
	wg.Wait()
}

func TestSignerPrintsNoKey(t *testing.T) {
	t.Parallel()
	const key = "a-secret-that-must-not-show"
	s := NewSigner(key)
	s.AppendQuantfolio(nil, nil)
	s.AppendStandard(nil, "id", 0, nil)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "signer", s)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "signer", s)
	if err := json.NewEncoder(&out).Encode(map[string]any{"signer": s}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), redacted); got != 10 {
		t.Errorf("redacted text printed %d times, want 10:\n%s", got, out.String())
	}
	for _, form := range []string{key, hex.EncodeToString([]byte(key)), fmt.Sprint([]byte(key))} {
		if strings.Contains(out.String(), form) {
			t.Errorf("output shows the key:\n%s", out.String())
		}
	}
}

// TestStandardLibraryOnly holds that receivers pull in nothing else.
func TestStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if first, _, _ := strings.Cut(strings.Trim(imp.Path.Value, `"`), "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s, want the standard library only", name, imp.Path.Value)
			}
		}
	}
}

func BenchmarkSigner(b *testing.B) {
	s := NewSigner(publishedKey)
	content := bytes.Repeat([]byte("x"), 1024)
	const id = "0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11"
	b.Run("Quantfolio", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(content)))
		dst := make([]byte, 0, 128)
		for b.Loop() {
			dst = s.AppendQuantfolio(dst[:0], content)
		}
	})
	b.Run("Standard", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(content)))
		dst := make([]byte, 0, 128)
		for b.Loop() {
			dst = s.AppendStandard(dst[:0], id, publishedUnix, content)
		}
	})
	b.Run("Unpooled", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(content)))
		key := []byte(publishedKey)
		for b.Loop() {
			_ = Quantfolio(key, content)
		}
	})
}
