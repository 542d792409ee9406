package app_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// balancer sends each request to a node that said it was ready when it was asked last.
type balancer struct {
	mu    sync.Mutex
	ready []string // URLs
	turn  atomic.Uint64
}

// poll asks the nodes again and again, until ctx ends.
func (b *balancer) poll(ctx context.Context, nodes func() []string) {
	for ctx.Err() == nil {
		var ready []string
		for _, url := range nodes() {
			r, err := http.Get(url + "/readyz")
			if err != nil {
				continue
			}
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				ready = append(ready, url)
			}
		}
		b.mu.Lock()
		b.ready = ready
		b.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond): // as often as a balancer asks
		}
	}
}

func (b *balancer) next() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return ""
	}
	return b.ready[b.turn.Add(1)%uint64(len(b.ready))]
}

// While the nodes are restarted one after the other behind a balancer, no publisher is refused, with connections that
// are kept.
func TestRollingRestartRefusesNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	must(webhook.LoadOrCreateKeyring(path))(t)
	keyset := string(must(os.ReadFile(path))(t))
	url := pgtest.Shared(t).NewDatabase(t)
	node := func() *app.App {
		a := must(app.New(t.Context(), app.Config{
			Listen: "127.0.0.1:0", Database: url, DatabasePool: 4, MasterKeyset: keyset, AdminKey: adminKey, AllowNetwork: []string{"127.0.0.0/8"},
			Concurrency: 4, Retention: 24 * time.Hour, UndeleteTime: 24 * time.Hour, Drain: 2 * time.Second, StopTimeout: 5 * time.Second,
		}, quiet))(t)
		t.Cleanup(func() { _ = a.Stop(context.Background()) })
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return a
	}
	var mu sync.Mutex
	nodes := []*app.App{node(), node()}
	urls := func() (list []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, a := range nodes {
			list = append(list, a.URL())
		}
		return list
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var b balancer
	wg.Go(func() { b.poll(ctx, urls) })
	eventually(t, "both nodes are ready", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.ready) == 2 })
	var published atomic.Int64
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				at := b.next()
				_, err := client.New(at, adminKey).Publish(context.WithoutCancel(ctx),
					client.Event{Type: "qap.investor.created",
						ObjectID: "i", ObjectOwnerID: "a", OwnerID: "o"})
				if err != nil {
					t.Errorf("a publisher was refused: %v", err)
					return
				}
				published.Add(1)
			}
		})
	}
	for i := range nodes {
		enough := published.Load() + 50
		eventually(t, "events are published", func() bool { return published.Load() >= enough || t.Failed() })
		if err := nodes[i].Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
		a := node()
		mu.Lock()
		nodes[i] = a
		mu.Unlock()
		eventually(t, "the new node is ready", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return strings.Contains(strings.Join(b.ready, " "), a.URL())
		})
	}
	cancel()
	wg.Wait()
}
