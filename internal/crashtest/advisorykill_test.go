package crashtest

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
)

// listener is a receiver that keeps the events too, once for each request.
type listener struct {
	receiver
	events []client.Event // guarded by mu
}

func newListener(t *testing.T, failOne float64) *listener {
	l := &listener{receiver: receiver{requests: map[Key]int{}, answered: map[Key]int{}, failOne: failOne}}
	l.Server = httptest.NewServer(l)
	t.Cleanup(func() { l.CloseClientConnections(); l.Close() })
	return l
}

func (l *listener) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return
	}
	var e client.Event
	if err := json.Unmarshal(body, &e); err == nil { // else the receiver refuses it
		l.mu.Lock()
		l.events = append(l.events, e)
		l.mu.Unlock()
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	l.receiver.ServeHTTP(w, req)
}

// TestKillAdvisory kills a node at random moments while clients change the platform's objects: a change and its event
// are committed together or not at all.
func TestKillAdvisory(t *testing.T) {
	n := newNode(t, t.TempDir())
	killInStorm(t, n, fromEnv(t, "QHOOK_TEST_KILLS", 10))
	n.kill()
	mustIntegrity(t, n.data)
}

func killInStorm(t *testing.T, n *node, kills int) {
	l := newListener(t, 0.1)
	n.more = append(n.more, "--advisory")
	n.mustStart()
	names := map[string]string{n.mustWebhook(t.Context(), l.URL+"/post", "POST"): "post"}
	s := &storm{ctx: t.Context()}
	defer s.stopped.Store(true)
	for _, name := range []string{"Ann", "Bob", "Cy"} {
		a, err := n.client().CreateAdvisor(t.Context(), client.NewAdvisor{Name: name}, "")
		if err != nil {
			t.Fatalf("CreateAdvisor: %v", err)
		}
		s.note(Asked{Kind: AdvisorCreated, Object: a.ID, Name: name}, a.ETag, nil)
		s.advisors = append(s.advisors, a.ID)
	}

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { s.run(n.client()) })
	}
	for range kills {
		moment := time.NewTimer(time.Duration(20+rand.IntN(300)) * time.Millisecond)
		<-moment.C
		n.kill()
		n.mustStart()
	}
	s.stopped.Store(true)
	wg.Wait()
	answered := slices.DeleteFunc(slices.Clone(s.asked), func(a Asked) bool { return a.Lost })
	t.Logf("%d kills; %d changes answered with success, %d with no answer, %d refused by a rule, %d not sent; %d creations asked for again",
		kills, len(answered), len(s.asked)-len(answered), s.refused, s.unsent, s.again.Load())
	if len(answered) < 2*kills { // a loaded machine answers few before the next kill
		t.Errorf("only %d changes were answered; the storm was no storm", len(answered))
	}
	kinds := map[Kind]int{}
	for _, a := range answered {
		kinds[a.Kind]++
	}
	t.Logf("answered: %v", kinds)

	listed := s.compare(t, n, l, names, kills)
	// The lists leave out what is below a soft-deleted object; so everything is compared once more, restored.
	for id, i := range listed.Investors {
		if i.SoftDeleted {
			s.restoreInvestor(n.client(), id)
		}
	}
	for id, x := range n.platform().Sessions {
		if x.SoftDeleted {
			s.restoreSession(n.client(), id)
		}
	}
	s.compare(t, n, l, names, kills)
	report(t, s.failed)
}

// compare waits until everything is delivered, and compares what arrived with what is listed and what was answered.
func (s *storm) compare(t *testing.T, n *node, l *listener, names map[string]string, kills int) Platform {
	t.Helper()
	logs := settle(t, n, &publisher{}, &l.receiver, names, 2*time.Minute)
	for k := range logs.Record {
		logs.Accepted = append(logs.Accepted, k)
	}
	deliveries := Check(logs, kills, unsettled)
	listed := n.platform()
	t.Logf("%d events in %d requests, %d duplicates; %v", len(logs.Record), len(l.events),
		deliveries.Duplicates, listed)
	report(t, deliveries.Findings)
	report(t, CheckAdvisory(l.events, listed, s.asked))
	return listed
}

// report fails the test with the first of the findings.
func report(t *testing.T, findings []string) {
	t.Helper()
	for _, f := range findings[:min(20, len(findings))] {
		t.Error(f)
	}
	if len(findings) > 20 {
		t.Errorf("%d findings in all", len(findings))
	}
}

// platform reads everything that the API lists.
func (n *node) platform() Platform {
	n.t.Helper()
	ctx, c := n.t.Context(), n.client()
	p := Platform{Advisors: map[string]string{}, Investors: map[string]Investor{}, Sessions: map[string]Session{}}
	for _, a := range all(n, func(cursor string) (client.Page[client.Advisor], error) { return c.Advisors(ctx, cursor) }) {
		p.Advisors[a.ID] = a.Name
	}
	for _, deleted := range []bool{false, true} {
		for _, i := range all(n, func(cursor string) (client.Page[client.Investor], error) {
			return c.Investors(ctx, client.InvestorQuery{Deleted: deleted, Cursor: cursor})
		}) {
			if _, ok := p.Investors[i.ID]; ok || deleted == i.DeletedAt.IsZero() {
				n.t.Errorf("investor %s, soft-deleted at %v, is in the list with deleted=%t, or in both", i.ID,
					i.DeletedAt, deleted)
			}
			p.Investors[i.ID] = Investor{Advisor: i.AdvisorID, Name: i.Name, SoftDeleted: deleted,
				Version: n.version("/v1/investors/" + i.ID)}
			if !deleted {
				n.sessions(p, i.ID, false)
			}
			n.sessions(p, i.ID, true)
		}
	}
	return p
}

// sessions adds an investor's advice sessions to p, those that are soft-deleted or the others.
func (n *node) sessions(p Platform, investor string, deleted bool) {
	n.t.Helper()
	ctx, c := n.t.Context(), n.client()
	for _, x := range all(n, func(cursor string) (client.Page[client.AdviceSession], error) {
		return c.AdviceSessions(ctx, investor, client.AdviceSessionQuery{Deleted: deleted, Cursor: cursor})
	}) {
		hidden := p.Investors[investor].SoftDeleted // then all are listed as soft-deleted
		if _, ok := p.Sessions[x.ID]; ok || !hidden && deleted == x.DeletedAt.IsZero() {
			n.t.Errorf("session %s, soft-deleted at %v, is in the list with deleted=%t, or in both", x.ID,
				x.DeletedAt, deleted)
		}
		s := Session{Investor: x.InvestorID, Title: x.Title, Completed: x.Status == "completed",
			SoftDeleted: !x.DeletedAt.IsZero(),
			Version:     n.version("/v1/advice-sessions/" + x.ID)}
		if !deleted {
			for _, r := range all(n, func(cursor string) (client.Page[client.Report], error) { return c.Reports(ctx, x.ID, cursor) }) {
				s.Reports = append(s.Reports, r.ID)
			}
			slices.Sort(s.Reports)
		}
		p.Sessions[x.ID] = s
	}
}

// all reads all pages of a list.
func all[T any](n *node, read func(cursor string) (client.Page[T], error)) (items []T) {
	n.t.Helper()
	for cursor := ""; ; {
		page, err := read(cursor)
		if err != nil {
			n.t.Fatalf("list: %v", err)
		}
		items = append(items, page.Items...)
		if cursor = page.Next; cursor == "" {
			return items
		}
	}
}

// version reads the version in the ETag of an object, soft-deleted or not.
func (n *node) version(path string) int {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, "http://"+n.addr+path+"?deleted=true", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	v, err := strconv.Atoi(strings.Trim(resp.Header.Get("ETag"), `"`))
	if err != nil {
		n.t.Fatalf("GET %s: status %d, ETag: %v", path, resp.StatusCode, err)
	}
	return v
}
