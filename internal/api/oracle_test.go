package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quantfolio/qhook/internal/attempt"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/netguard"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// names are what an attacker asks about: a name of the operator's network, one that does not exist, one whose server
// for names is silent, and one whose address is.
var oracleNames = []string{"refused.example", "unknown.example", "stuck.example", "silent.example"}

// oracleResolver knows the names.
type oracleResolver struct{}

func (oracleResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	switch strings.TrimSuffix(host, ".") {
	case "refused.example":
		return []netip.Addr{netip.MustParseAddr("10.9.8.7")}, nil
	case "stuck.example":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, &net.DNSError{IsNotFound: true, Name: host}
}

// oracleEngine tests targets as the real one does, but for the silent address, which needs a network.
type oracleEngine struct {
	*fakeEngine
	sender *attempt.Sender
}

func (e oracleEngine) Test(ctx context.Context, w *webhook.Webhook, ev event.Event) (
	attempt.Result, attempt.Preview, error) {
	t, err := attempt.NewTarget(w)
	if err != nil {
		return attempt.Result{}, attempt.Preview{}, err
	}
	if strings.Contains(w.URL, "silent") {
		began := time.Now()
		time.Sleep(min(w.Timeout, attempt.ConnectLimit)) // in a bubble
		return attempt.Result{At: began, Duration: time.Since(began), Class: attempt.ClassSilent,
			Err:     os.ErrDeadlineExceeded,
			Timings: attempt.Timings{DNS: time.Millisecond, Connect: time.Since(began)}}, t.Preview(&ev, began), nil
	}
	return e.sender.Send(ctx, t, &ev), t.Preview(&ev, time.Now()), nil
}

// TestNoOracle: saving, testing and the record answer the same, and a test as late, whatever a name is in the
// operator's network; the log tells the operator.
func TestNoOracle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	guard, err := netguard.New(netguard.Config{Resolver: oracleResolver{}})
	if err != nil {
		t.Fatal(err)
	}
	varies := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z|"(k|d)_[0-9a-z_]+"|v1,[^"]+|sha256=[0-9a-f]+|"[0-9]{10}"|[a-z]+\.example|"duration_ms":0`)
	same := func(what string, answers map[string]string) {
		t.Helper()
		want := varies.ReplaceAllString(answers[oracleNames[0]], "-")
		for name, got := range answers {
			if got := varies.ReplaceAllString(got, "-"); got != want {
				t.Errorf("%s of %s:\n%s\nof %s:\n%s", what, name, got, oracleNames[0], want)
			}
		}
	}
	saved, changed, recorded := map[string]string{}, map[string]string{}, map[string]string{}
	hooks := map[string]string{}
	handler := func(now func() time.Time) {
		var err error
		r.h, err = New(Config{Engine: oracleEngine{r.engine, attempt.New(attempt.Config{Guard: guard})}, Store: r.store,
			Guard: guard, Now: now,
			Limits: &Limits{}})
		if err != nil {
			t.Fatal(err)
		}
	}
	handler(nil)
	for _, name := range oracleNames {
		p := r.call(admin, "POST", "/v1/webhooks",
			`{"url":"https://`+name+`/hook","method":"POST","event_types":["**"],"timeout":"3s"}`)
		saved[name], hooks[name] = fmt.Sprint(p.code, p.body), p.str("id")
		p = r.call(admin, "PATCH", "/v1/webhooks/"+p.str("id"), `{"url":"https://`+name+`/other"}`)
		changed[name] = fmt.Sprint(p.code, p.body)
	}
	same("saving", saved)
	same("changing", changed)

	for i, class := range []string{attempt.ClassRefused, attempt.ClassDNS, attempt.ClassDNS, attempt.ClassSilent} {
		o := store.Outcome{Class: class, Duration: time.Duration(i) * time.Second,
			Timings: store.Timings{DNS: time.Duration(i), Connect: time.Second}}
		recorded[oracleNames[i]] = fmt.Sprintf("%+v", viewOutcome(&o))
	}
	same("the record", recorded)

	synctest.Test(t, func(t *testing.T) {
		tested, took := map[string]string{}, map[string]time.Duration{}
		for _, name := range oracleNames {
			w, err := r.store.WebhookByID(context.Background(), "default", hooks[name])
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			e := oracleEngine{r.engine, attempt.New(attempt.Config{Guard: guard})}
			typ, _ := event.Lookup("qap.investor.created")
			res, preview, err := e.Test(t.Context(), w, typ.Example(began))
			if err != nil {
				t.Fatal(err)
			}
			hideAddress(t.Context(), w, &res)
			took[name] = time.Since(began)
			v := viewTest(w, &res, &preview)
			tested[name] = fmt.Sprintf("%+v %+v", v.Attempt, v.Response)
		}
		same("testing", tested)
		for name, d := range took {
			if d != 3*time.Second {
				t.Errorf("testing %s takes %v, want 3s as for all", name, d)
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		hideAddress(gone, &webhook.Webhook{Timeout: time.Minute}, &attempt.Result{At: began, Class: attempt.ClassDNS})
		if d := time.Since(began); d != 0 {
			t.Errorf("for a caller who left it waits %v", d)
		}
	})
	for _, literal := range []string{"10.9.8.7", "127.0.0.1", "169.254.169.254"} {
		p := r.call(admin, "POST", "/v1/webhooks",
			`{"url":"https://`+literal+`/hook","method":"POST","event_types":["**"]}`)
		if p.code != 422 || strings.Contains(p.body, "--") {
			t.Errorf("saving %s = %d %s, want 422 without the names of settings", literal, p.code, p.body)
		}
	}
	if _, _, err := guard.Dial(t.Context(), "refused.example", 443, false); !errors.As(err,
		new(*netguard.RefusedError)) {
		t.Errorf("Dial of a refused name = %v, want a refusal: what is saved is judged there", err)
	}
}
