package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/quantfolio/qhook/internal/app"
)

// TestSecretsFromFiles: a setting that is a secret can come from a file or a systemd credential; what is wrong with it
// is told without the secret.
func TestSecretsFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// The key is too short, and its length is told: so it was read, and as it should be.
	short, crlf, empty := write("short", "canary12\n"), write("crlf", "canary1234\r\n"), write("empty", "\n")
	write("qhook_admin_key", "canary123456")
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"file":       {[]string{"QHOOK_ADMIN_KEY_FILE=" + short}, "has 8 characters"},
		"CRLF":       {[]string{"QHOOK_ADMIN_KEY_FILE=" + crlf}, "has 10 characters"},
		"credential": {[]string{"CREDENTIALS_DIRECTORY=" + dir}, "has 12 characters"},
		"file wins": {[]string{"CREDENTIALS_DIRECTORY=" + dir, "QHOOK_ADMIN_KEY_FILE=" + short},
			"has 8 characters"},
		"both":      {[]string{"QHOOK_ADMIN_KEY=canary", "QHOOK_ADMIN_KEY_FILE=" + short}, "use one of them"},
		"empty":     {[]string{"QHOOK_ADMIN_KEY_FILE=" + empty}, "is empty"},
		"not there": {[]string{"QHOOK_ADMIN_KEY_FILE=" + filepath.Join(dir, "none")}, "no such file"},
		"too large": {[]string{"QHOOK_ADMIN_KEY_FILE=" + write("large", strings.Repeat("x", maxSecretFile+1))},
			"at most"},
		"no secret": {[]string{"QHOOK_LISTEN_FILE=" + short}, "unknown settings"},
		"database, a file": {[]string{"QHOOK_DATABASE_FILE=" + write("db", "postgres://canary@127.0.0.1:1/x\n")},
			"master keyset"},
	} {
		var out bytes.Buffer
		code := Run(t.Context(), []string{"serve", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"},
			c.env, strings.NewReader(""), &out, &out)
		if code == 0 || !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), "canary") {
			t.Errorf("%s: exit %d: %s, want one that says %q and no secret", name, code, out.String(), c.want)
		}
	}
}

// TestSecretSettingsAreMarked: each setting whose name is that of a secret can come from a file, so that a new one is
// caught.
func TestSecretSettingsAreMarked(t *testing.T) {
	t.Parallel()
	secret := regexp.MustCompile(`(?i)key$|keyset|password|token|^database(read)?$|proxy|^source$`)
	for _, of := range []any{app.Config{}, backupCmd{}, restoreCmd{}, copyCmd{}, sharedDatabase{}, listenCmd{},
		relayCmd{}, server{}, verifyCmd{}} {
		typ := reflect.TypeOf(of)
		for i := range typ.NumField() {
			f := typ.Field(i)
			_, marked := f.Tag.Lookup("secret")
			if want := secret.MatchString(f.Name) && f.Type.Kind() != reflect.Bool &&
				f.Name != "TLSKey"; want != marked {
				t.Errorf("%v.%s is marked as a secret: %t, want %t", typ, f.Name, marked, want)
			}
		}
	}
}

// TestFirstCredentialsAreInNoLog: where standard output is no terminal, the first credentials are in a file that only
// its owner reads, until they are used.
func TestFirstCredentialsAreInNoLog(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		out := &watched{cancel: cancel, until: listeningLine}
		if code := Run(ctx, []string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--stop-timeout", "0s"}, nil,
			strings.NewReader(""), out, out); code != 0 {
			t.Fatalf("exit %d: %s", code, out.String())
		}
		path := filepath.Join(data, firstFile)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file has the mode %v, %v, want 0600", info.Mode(), err)
		}
		if !strings.Contains(string(b), "qhk_") || !strings.Contains(string(b), "/sign-in?token=") {
			t.Errorf("the file has %s, want a key and a link", b)
		}
		if s := out.String(); strings.Contains(s, "qhk_") || !strings.Contains(s, path) {
			t.Errorf("what is printed has a secret, or does not say where it is: %s", s)
		}
	}
}

// watched is an output that cancels once something is printed.
type watched struct {
	cancel context.CancelFunc
	until  string

	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.b.Write(p)
	if strings.Contains(w.b.String(), w.until) {
		w.cancel()
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}
