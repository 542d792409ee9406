package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store/storetest"
	"github.com/quantfolio/qhook/internal/webhook"
)

// underWay counts attempts by target.
type underWay struct {
	mu        sync.Mutex
	now, most map[string]int
	sent      map[string]int
	takes     time.Duration
}

func hookAt(num int, tenant, url string) *webhook.Webhook {
	return &webhook.Webhook{Num: int64(num), ID: uuid.NewString(), Tenant: tenant, URL: url, Method: webhook.POST,
		EventTypes: []string{"**"}, Enabled: true, Timeout: 15 * time.Second, RetrySchedule: webhook.DefaultRetrySchedule(),
		Version: 1}
}

func (u *underWay) Send(ctx context.Context, t *attempt.Target, _ *event.Event) attempt.Result {
	u.count(t.Origin(), 1)
	select {
	case <-time.After(u.takes):
	case <-ctx.Done():
	}
	u.count(t.Origin(), -1)
	return attempt.Result{Verdict: attempt.Success}
}

func (u *underWay) count(origin string, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now[origin] += n
	u.most[origin] = max(u.most[origin], u.now[origin])
	if n < 0 {
		u.sent[origin]++
	}
}

// A webhook that waits for a place at a host whose places are all held by attempts that hang, and is pointed elsewhere,
// does not wait any longer.
func TestMovesAwayFromABusyHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &underWay{now: map[string]int{}, most: map[string]int{}, sent: map[string]int{}, takes: 15 * time.Second}
		e := New(Config{Journal: storetest.NewMemory(), Sender: u, Concurrency: 4, TargetConcurrency: 4})
		list := []*webhook.Webhook{}
		for i := range 8 {
			list = append(list, hookAt(i+1, fmt.Sprint("tenant ", i), "https://hangs.example/"))
		}
		if err := e.Start(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := e.Stop(context.Background()); err != nil {
				t.Errorf("Stop: %v", err)
			}
		}()
		typ, _ := event.Lookup("qap.investor.updated")
		for _, w := range list {
			if _, err := e.Accept(t.Context(), w.Tenant, []event.Event{typ.Example(time.Now())}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		moved := *list[7]
		moved.URL, moved.Version = "https://elsewhere.example/", 2
		if err := e.SetWebhook(&moved); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.now["tls hangs.example"] != 4 || u.now["tls elsewhere.example"] != 1 {
			t.Errorf("attempts under way: %v, want 4 at the host that hangs and 1 elsewhere", u.now)
		}
	})
}

// Sixty webhooks of three tenants at one host are no hammer for it, and delay nobody who is elsewhere, of the same
// tenants too. A webhook that moves there waits with the others. In the end all is delivered.
func TestManyWebhooksAtOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &underWay{now: map[string]int{}, most: map[string]int{}, sent: map[string]int{}, takes: time.Second}
		e := New(Config{Journal: storetest.NewMemory(), Sender: u, Concurrency: 8, TargetConcurrency: 40})
		var list []*webhook.Webhook
		add := func(tenant, url string) *webhook.Webhook {
			w := hookAt(len(list)+1, tenant, url)
			list = append(list, w)
			return w
		}
		tenants := []string{"a", "b", "c"}
		for i := range 60 {
			add(tenants[i%3], fmt.Sprintf("https://bank.example/hook/%d", i))
		}
		add("a", "https://bank.example:8443/") // another port is another program
		moves := *add("b", "https://elsewhere.example/")
		if err := e.Start(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := e.Stop(context.Background()); err != nil {
				t.Errorf("Stop: %v", err)
			}
		}()
		typ, _ := event.Lookup("qap.investor.updated")
		const each = 24
		publish := func() {
			for range each / 2 {
				for _, tenant := range tenants {
					if _, err := e.Accept(t.Context(), tenant, []event.Event{typ.Example(time.Now())}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		publish()
		moves.URL, moves.Version = "https://bank.example/moved", 2
		if err := e.SetWebhook(&moves); err != nil {
			t.Fatal(err)
		}
		publish()
		time.Sleep(4 * time.Second)
		u.mu.Lock()
		if n := u.sent["tls bank.example:8443"]; n != each {
			t.Errorf("of %d deliveries elsewhere %d were made within 4 s", each, n)
		}
		u.mu.Unlock()
		time.Sleep(time.Minute)
		u.mu.Lock()
		defer u.mu.Unlock()
		if n := u.most["tls bank.example"]; n > 40 || n < 30 {
			t.Errorf("%d attempts were under way at one host, want at most 40, and about that", n)
		}
		total := 0
		for _, n := range u.sent {
			total += n
		}
		if want := each * len(list); total != want {
			t.Errorf("%d of %d deliveries were made; by target %v", total, want, u.sent)
		}
	})
}
