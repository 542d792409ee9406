package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"qhook": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}})
}

// TestScript runs testdata/*.txtar. QHOOK_* of the outside is not seen by the commands.
func TestScript(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(fakeAPI))
	t.Cleanup(api.Close)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Vars = slices.DeleteFunc(e.Vars, func(kv string) bool { return strings.HasPrefix(kv, envPrefix) })
			e.Setenv("API", api.URL)
			return nil
		},
	})
}

// fakeAPI answers as the API would, for the commands that only need its form.
func fakeAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer k" {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"title":"Unauthorized","status":401,"detail":"The API key is missing or wrong."}`)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /v1/events":
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		want := `{"type":"qap.investor.created","object_id":"inv-7","object_owner_id":"e4b1c1f0-52a4-4d5e-8d0a-3b6f9f2f7c21","owner_id":"e4b1c1f0-52a4-4d5e-8d0a-3b6f9f2f7c21","data":{"n":12345678901234567890}}`
		if string(body) != want {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = w.Write(body)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"id":"0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11","type":"qap.investor.created","time":"2023-03-15T12:46:00.000Z","deliveries":2}`)
	case "GET /v1/api-keys":
		_, _ = io.WriteString(w, `{"items":[{"id":"key-1","tenant":"default","role":"viewer","name":"wall","created_at":"2023-03-15T12:46:00Z"}]}`)
	case "POST /v1/api-keys":
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"key-2","tenant":"default","role":"publisher","key":"the-new-key"}`)
	case "POST /v1/links":
		_, _ = io.WriteString(w, `{"token":"the-token","path":"/sign-in?token=the-token","expires_at":"2023-03-15T13:46:00.000Z"}`)
	case "DELETE /v1/api-keys/key-1":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
