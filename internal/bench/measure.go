package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// warmUp is how long a load runs before it is measured.
const warmUp = 500 * time.Millisecond

// ceiling is what a bare net/http client loop reaches against the same receiver: requests a second.
func (g *rig) ceiling(ctx context.Context) (float64, error) {
	body := make([]byte, 300)
	for i := range body {
		body[i] = 'x'
	}
	limited, cancel := context.WithTimeout(ctx, warmUp+g.Round+time.Minute)
	defer cancel()
	ending := make(chan struct{}) // closed below when the time is up
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	for range connections {
		wg.Go(func() {
			for {
				select {
				case <-ending:
					return
				default:
				}
				if err := g.post(limited, g.base+"/n", "", body, http.StatusOK); err != nil {
					once.Do(func() { failed = err })
					return
				}
			}
		})
	}
	err := sleep(ctx, warmUp/2)
	from, at := g.arrived.get(), time.Now()
	if err == nil {
		err = sleep(ctx, g.Round)
	}
	n, took := g.arrived.get()-from, time.Since(at)
	close(ending)
	wg.Wait()
	return float64(n) / took.Seconds(), errors.Join(err, failed)
}

// throughput is one measurement of delivered events.
type throughput struct {
	PerSecond float64 `json:"per_second"`
	Published float64 `json:"published_per_second"`
	// CPU seconds per 1,000 deliveries, by process.
	ServeCPU    float64 `json:"serve_cpu_s_per_1000"`
	ReceiverCPU float64 `json:"receiver_cpu_s_per_1000"`
	BenchCPU    float64 `json:"bench_cpu_s_per_1000"`
}

// measure runs f against n for a while, and then until all that was published has arrived.
func (g *rig) measure(ctx context.Context, n *node, f flow, d time.Duration) (throughput, error) {
	r, err := g.start(ctx, n, f)
	if err != nil {
		return throughput{}, err
	}
	if err := sleep(ctx, warmUp); err != nil {
		return throughput{}, errors.Join(err, r.stop(g))
	}
	before, err1 := g.cpu(n)
	from, published, at := g.arrived.get(), r.published.Load(), time.Now()
	err2 := sleep(ctx, d)
	arrived, sent, took := g.arrived.get()-from, r.published.Load()-published, time.Since(at).Seconds()
	after, err3 := g.cpu(n)
	if err := errors.Join(err1, err2, err3, r.stop(g)); err != nil {
		return throughput{}, err
	}
	if err := r.drain(ctx, g); err != nil {
		return throughput{}, err
	}
	if arrived == 0 {
		return throughput{}, errors.New("nothing arrived")
	}
	var used [3]float64
	for i := range used {
		used[i] = (after[i] - before[i]).Seconds() * 1000 / float64(arrived)
	}
	return throughput{PerSecond: float64(arrived) / took, Published: float64(sent) / took,
		ServeCPU: used[0], ReceiverCPU: used[1], BenchCPU: used[2]}, nil
}

// cpu is the processor time of the node, the receiver and bench.
func (g *rig) cpu(n *node) (used [3]time.Duration, err error) {
	for i, pid := range []int{n.pid(), g.receiver.pid(), os.Getpid()} {
		if used[i], err = cpuTime(pid); err != nil {
			return used, err
		}
	}
	return used, nil
}

// publishSteadily publishes rate events a second, open loop, for d; each carries the time at which it was sent.
func (g *rig) publishSteadily(ctx context.Context, n *node, rate int, d time.Duration) error {
	_, err := g.publishTimed(ctx, n, rate, d, func(int) string { return "" })
	return err
}

// publishTimed does the same for the tenant of each event, and is how long each took to be answered, nanoseconds.
func (g *rig) publishTimed(ctx context.Context, n *node, rate int, d time.Duration,
	tenant func(i int) string) (took []int64, err error) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	end := time.NewTimer(d)
	defer end.Stop()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			wg.Wait()
			return nil, errStopped
		case <-end.C:
			wg.Wait()
			return took, err
		case <-tick.C:
			wg.Go(func() {
				began := time.Now()
				e := g.send(ctx, n.url, n.key, call{method: http.MethodPost, path: "/v1/events", tenant: tenant(i),
					body: []byte(benchEvent(benchType, began.UnixNano())), status: http.StatusAccepted})
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(began).Nanoseconds())
				if e != nil {
					err = e
				}
			})
		}
	}
}

// latencies takes what the receiver recorded since the last call, by path.
func (g *rig) latencies(ctx context.Context) (map[int][]int64, error) {
	if err := sleep(ctx, 300*time.Millisecond); err != nil { // the last ones are under way
		return nil, err
	}
	var byPath map[int][]int64
	err := g.control(ctx, "/ctl/latencies", &byPath)
	return byPath, err
}

// quantile is the q-quantile of ns in milliseconds, by nearest rank.
func quantile(ns []int64, q float64) float64 {
	if len(ns) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(ns))
	i := min(int(q*float64(len(s))), len(s)-1)
	return float64(s[i]) / 1e6
}

// fill publishes count events in batches of 1,000.
func (g *rig) fill(ctx context.Context, n *node, eventType string, count int) error {
	r, err := g.start(ctx, n, flow{size: 1000, workers: 4, eventType: eventType, most: int64(count)})
	if err != nil {
		return err
	}
	if err := r.wait(); err != nil {
		return err
	}
	if got := r.published.Load(); got != int64(count/1000*1000) {
		return fmt.Errorf("published %d of %d events", got, count)
	}
	return ctx.Err()
}

// hookCount is how many webhooks get every event where some of them are in trouble.
const hookCount = 20

// troubles tells which of them are: every fifth.
func troubles(k int) bool { return k%5 == 4 }

// hangPaths registers them; those in trouble hang when hanging.
func (g *rig) hangPaths(ctx context.Context, n *node, hanging bool) error {
	for k := range hookCount {
		path := fmt.Sprintf("/lat/%d", k)
		if hanging && troubles(k) {
			path = fmt.Sprintf("/hang/%d", k)
		}
		if err := n.hook(ctx, g, path); err != nil {
			return err
		}
	}
	return nil
}

// healthyAt publishes rate events a second and appends the latencies of those webhooks that are never in trouble.
func (g *rig) healthyAt(ctx context.Context, n *node, rate int, d time.Duration, to []int64) ([]int64, error) {
	if err := g.publishSteadily(ctx, n, rate, warmUp); err != nil {
		return nil, err
	}
	if _, err := g.latencies(ctx); err != nil {
		return nil, err
	}
	if err := g.publishSteadily(ctx, n, rate, d); err != nil {
		return nil, err
	}
	byPath, err := g.latencies(ctx)
	for k, ns := range byPath {
		if !troubles(k) {
			to = append(to, ns...)
		}
	}
	return to, err
}

// awaitAll waits until so many more than base have arrived.
func (g *rig) awaitAll(ctx context.Context, base, count int64, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(ctx, g.arrived.wake)
	defer stop()
	if !g.arrived.await(ctx, base+count, func() bool { return false }) {
		return fmt.Errorf("%d of %d arrived within %v", g.arrived.get()-base, count, limit)
	}
	return nil
}
