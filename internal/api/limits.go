package api

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/quantfolio/qhook/internal/event"
)

// Limits are what one tenant may have and do, on this node; 0: as much as it likes.
type Limits struct {
	Webhooks, Keys, Links int // that there are
	SignIns               int // that have not ended
	Streams               int // that are open
	Events, Bytes         int // published, a second
	Tests, Retries        int // a minute; retries by hand, of deliveries
}

// DefaultLimits are met by no honest tenant.
var DefaultLimits = Limits{Webhooks: 10_000, Keys: 1_000, Links: 1_000, SignIns: 10_000, Streams: 100, Events: 200_000,
	Bytes: 512 << 20,
	Tests: 60, Retries: 100_000}

const (
	limitedFor   = time.Hour   // how long a tenant that met a limit is shown
	quietFor     = time.Minute // between two lines in the log about the same
	limitTenants = 10_000      // whose state is kept, of one limit; of more, those that are as new are forgotten
)

// limits holds tenants to their limits.
type limits struct {
	of      Limits
	met     func(limit string) // told each time; may be nil
	log     func(tenant, limit string)
	events  meter
	bytes   meter
	tests   meter
	retries meter

	mu      sync.Mutex
	streams map[string]int
	last    map[limitOf]seen
}

// limitOf is one limit of one tenant.
type limitOf struct{ tenant, name string }

// seen is when a tenant last had four fifths of a limit, and when it met it.
type seen struct{ near, met time.Time }

// meter is a rate for each tenant.
type meter struct {
	name  string
	most  int // in the window; 0: no limit
	per   time.Duration
	burst int

	byTenant sync.Map // of *rate.Limiter
	mu       sync.Mutex
	tenants  int
}

func newLimits(of Limits, met func(string), log func(tenant, limit string)) *limits {
	l := &limits{of: of, met: met, log: log, streams: map[string]int{}, last: map[limitOf]seen{}}
	set := func(m *meter, name string, most int, per time.Duration, least int) {
		m.name, m.most, m.per, m.burst = name, most, per, max(most, least)
	}
	set(&l.events, "events", of.Events, time.Second, event.MaxBatch)
	set(&l.bytes, "bytes", of.Bytes, time.Second, MaxBatchBody)
	set(&l.tests, "tests", of.Tests, time.Minute, 1)
	set(&l.retries, "retries", of.Retries, time.Minute, maxRetryMany)
	return l
}

// take takes n, and tells whether four fifths are taken then; otherwise it says how long to wait for them.
func (m *meter) take(tenant string, n int, now time.Time) (wait time.Duration, near bool) {
	if m.most == 0 {
		return 0, false
	}
	v, ok := m.byTenant.Load(tenant)
	if !ok {
		v = m.meet(tenant, now)
	}
	l := v.(*rate.Limiter)
	n = min(n, m.burst)
	if l.AllowN(now, n) {
		return 0, l.TokensAt(now) < float64(m.burst)/5
	}
	missing := float64(n) - l.TokensAt(now)
	return max(time.Duration(missing/float64(l.Limit())*float64(time.Second)), time.Millisecond), false
}

// meet makes the state of a tenant.
func (m *meter) meet(tenant string, now time.Time) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tenants >= limitTenants {
		m.byTenant.Range(func(k, v any) bool {
			if v.(*rate.Limiter).TokensAt(now) >= float64(m.burst) {
				m.byTenant.Delete(k)
				m.tenants--
			}
			return true
		})
	}
	v, loaded := m.byTenant.LoadOrStore(tenant, rate.NewLimiter(rate.Limit(float64(m.most)/m.per.Seconds()), m.burst))
	if !loaded {
		m.tenants++
	}
	return v
}

// rated takes n of a rate; an error is a 429, and nothing was taken.
func (l *limits) rated(m *meter, tenant string, n int, now time.Time) error {
	wait, near := m.take(tenant, n, now)
	if wait == 0 {
		if near {
			l.note(limitOf{tenant, m.name}, seen{near: now})
		}
		return nil
	}
	l.reached(tenant, m.name, now)
	p := newProblem(http.StatusTooManyRequests,
		fmt.Sprintf("The tenant's limit of %d %s %s is reached. Nothing was done. Try again "+
			"in %s, or ask the operator for more.", m.most, m.name, perName(m.per), waitName(wait)))
	return limited(p, m.name, m.most, m.per, wait)
}

// published takes a request of a publisher.
func (l *limits) published(tenant string, events, bytes int, now time.Time) error {
	if err := l.rated(&l.events, tenant, events, now); err != nil {
		return err
	}
	return l.rated(&l.bytes, tenant, bytes, now)
}

// counted fails when there are as many as there may be.
func (l *limits) counted(tenant, name string, there, most int, now time.Time) error {
	if most == 0 || there < most {
		if most > 0 && (there+1)*5 >= most*4 {
			l.note(limitOf{tenant, name}, seen{near: now})
		}
		return nil
	}
	l.reached(tenant, name, now)
	p := newProblem(http.StatusTooManyRequests,
		fmt.Sprintf("The tenant has %d %s, which is its limit. Delete some, or ask the operator "+
			"for more.", there, name))
	return limited(p, name, most, 0, 0)
}

// stream counts an open stream until the returned function is called; an error is a 429.
func (l *limits) stream(tenant string, now time.Time) (end func(), err error) {
	l.mu.Lock()
	open := l.streams[tenant]
	if l.of.Streams == 0 || open < l.of.Streams {
		l.streams[tenant]++
	}
	l.mu.Unlock()
	if err := l.counted(tenant, "streams", open, l.of.Streams, now); err != nil {
		return nil, err
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.streams[tenant]--; l.streams[tenant] == 0 {
			delete(l.streams, tenant)
		}
	}, nil
}

// reached notes that a tenant met a limit.
func (l *limits) reached(tenant, name string, now time.Time) {
	if l.met != nil {
		l.met(name)
	}
	if was := l.note(limitOf{tenant, name}, seen{met: now}); now.Sub(was.met) >= quietFor {
		l.log(tenant, name)
	}
}

// note keeps when something was seen of a limit, and gives what was known before.
func (l *limits) note(of limitOf, now seen) (was seen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, known := l.last[of]
	if !known && len(l.last) >= limitTenants {
		for k, s := range l.last {
			if at := later(now.near, now.met); at.Sub(later(s.near, s.met)) > limitedFor {
				delete(l.last, k)
			}
		}
	}
	if known || len(l.last) < limitTenants {
		l.last[of] = seen{later(was.near, now.near), later(was.met, now.met)}
	}
	return was
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lately are the limits that a tenant met within the last hour, and those of which it only had four fifths.
func (l *limits) lately(tenant string, now time.Time) (met, near []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for of, s := range l.last {
		switch {
		case of.tenant != tenant:
		case now.Sub(s.met) <= limitedFor:
			met = append(met, of.name)
		case now.Sub(s.near) <= limitedFor:
			near = append(near, of.name)
		}
	}
	slices.Sort(met)
	slices.Sort(near)
	return met, near
}

// limited adds the headers of draft-ietf-httpapi-ratelimit-headers, sections 3 and 4, and Retry-After, to a 429.
func limited(p *Problem, name string, most int, per, wait time.Duration) *Problem {
	policy, now := fmt.Sprintf(`"%s";q=%d`, name, most), fmt.Sprintf(`"%s";r=0`, name)
	if per > 0 {
		seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
		policy += fmt.Sprintf(";w=%d", int(per.Seconds()))
		now += ";t=" + seconds
		p = p.with("Retry-After", seconds)
	}
	return p.of(kindLimit).with("RateLimit-Policy", policy).with("RateLimit", now)
}

func perName(d time.Duration) string {
	if d == time.Second {
		return "a second"
	}
	return "a minute"
}

func waitName(d time.Duration) string {
	if d < time.Second {
		return "a second"
	}
	return strconv.Itoa(int(math.Ceil(d.Seconds()))) + " seconds"
}
