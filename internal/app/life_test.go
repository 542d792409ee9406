package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

var discard = slog.New(slog.DiscardHandler)

func mustApp(t *testing.T) *App {
	t.Helper()
	a, err := New(t.Context(), Config{
		Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", Data: t.TempDir(), AdminKey: strings.Repeat("k",
			minAdminKey), Advisory: true,
		Concurrency: 4, Retention: time.Hour, UndeleteTime: time.Hour, StopTimeout: 5 * time.Second,
	}, discard)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestStopUnstarted(t *testing.T) {
	t.Parallel()
	a := mustApp(t)
	for range 2 {
		if err := a.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v, want nil", err)
		}
	}
	if err := a.Start(t.Context()); !errors.Is(err, errStopped) {
		t.Errorf("Start after Stop = %v, want %v", err, errStopped)
	}
	if err := a.Wait(); err != nil {
		t.Errorf("Wait after Stop = %v, want nil", err)
	}
}

// Whatever comes in whatever order at the same time, all of it returns, nothing panics, and Stop leaves nothing
// running.
func TestLifecycleUnderStress(t *testing.T) {
	t.Parallel()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		a := mustApp(t)
		var wg sync.WaitGroup
		begun := make(chan struct{}) // closed when Start has returned
		wg.Go(func() {
			defer close(begun)
			if err := a.Start(t.Context()); err != nil && !errors.Is(err, errStopped) {
				t.Errorf("Start = %v, want nil or %v", err, errStopped)
			}
		})
		stop := func() {
			if err := a.Stop(t.Context()); err != nil {
				t.Errorf("Stop = %v, want nil", err)
			}
		}
		wg.Go(func() { _ = a.Wait() })
		for i := range 3 {
			wg.Go(func() {
				if (round+i)%2 == 0 {
					<-begun // else Start still runs, or has not begun
				}
				stop()
			})
		}
		wg.Go(func() { // whoever comes late
			<-begun
			if a.listener == nil {
				return
			}
			for _, path := range []string{"/readyz", "/v1/events", "/v1/webhooks"} {
				r, err := http.Get(a.URL() + path)
				if err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					_ = r.Body.Close()
				}
			}
			_ = a.engine.RetryNow(t.Context(), store.DeliveryKey{Webhook: 1, Event: 1})
			_, _ = a.engine.Accept(t.Context(), DefaultTenant, nil)
			a.fail(errors.New("late"))
		})
		wg.Wait()
		stop()
		if a.goBackground(func() { t.Error("something began after Stop") }) {
			t.Error("goBackground after Stop = true, want false")
		}
		if a.listener != nil {
			if _, err := http.Get(a.URL() + "/livez"); err == nil {
				t.Error("the node answers after Stop")
			}
		}
	}
}

// stuck is a store that does not end.
type stuck struct {
	store.Store
	back chan struct{} // closed by the test
}

func (s stuck) Ping(context.Context) error { <-s.back; return nil }
func (s stuck) Close() error               { <-s.back; return s.Store.Close() }

// What hangs is left behind and named, and the rest is stopped.
func TestStopWithAStoreThatHangs(t *testing.T) {
	t.Parallel()
	a := mustApp(t)
	s := stuck{a.store, make(chan struct{})}
	a.store = s
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r, err := http.Get(a.URL() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if took := time.Since(began); r.StatusCode != http.StatusServiceUnavailable || took > 2*time.Second {
		t.Errorf("/readyz of a store that hangs = %d after %v, want 503 within a second", r.StatusCode, took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began = time.Now()
	err = a.Stop(ctx)
	if err == nil || !strings.Contains(err.Error(), "the store did not end in time") {
		t.Errorf("Stop = %v, want that the store did not end", err)
	}
	if took := time.Since(began); took > lastTime+2*time.Second {
		t.Errorf("Stop took %v, want at most %v", took, lastTime)
	}
	close(s.back)
}

// However many steps hang, the end comes in time.
func TestStoppingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const soft = 3 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), soft)
		defer cancel()
		began, back := time.Now(), make(chan struct{})
		s, over := newStopping(ctx, discard)
		defer over()
		s.step("quick", func() error { return nil })
		s.step("failing", func() error { return errors.New("detail") })
		for range 3 {
			s.step("hanging", func() error { <-back; return nil })
		}
		s.step("late and quick", func() error { return nil })
		if took, want := time.Since(began), soft+lastTime+2*leastStep; took != want {
			t.Errorf("3 steps that hang took %v, want %v", took, want)
		}
		got := errors.Join(s.errs...).Error()
		if want := "failing: detail" + strings.Repeat("\nhanging did not end in time and is left behind", 3); got != want {
			t.Errorf("errors are %q, want %q", got, want)
		}
		close(back)
	})
}
