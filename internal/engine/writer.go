package engine

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quantfolio/qhook/internal/failpoint"
	"github.com/quantfolio/qhook/internal/store"
)

// writing is one row, other than an event, that waits for the next commit.
type writing struct {
	outcome  *store.Outcome
	wait     store.Waiting // if outcome is nil and trim is nil
	trim     *store.Trim
	spilled  *owed      // of whose delivery, not in memory, this is the row; may be nil
	hook     *hook      // told when it is committed; may be nil
	delivery *delivery  // in memory, of which this is a row; may be nil
	leaves   bool       // the delivery leaves memory then
	done     chan error // capacity 1: sent to once by the writer; nil: nobody waits
}

// writerState is where the writer stands. It only ever goes forward.
type writerState uint8

const (
	writerIdle    writerState = iota // its goroutine does not run yet; what comes in waits
	writerRunning                    //
	writerClosing                    // what is there is written; no publisher's request comes in any more
	writerEnded                      // nothing is written; whoever comes is answered with an error
)

// Limits of what one commit takes and of what waits for it, so that none takes long and nothing grows without end.
const (
	commitBytes  = 512 << 10 // of events in one commit; the rest waits for the next, each tenant having its part
	commitFan    = 2048      // deliveries of a tenant in one commit; the request that reaches it is the tenant's last
	commitRows   = 256       // other rows in one commit
	addedRows    = 64        // waiting rows that one commit adds of spilled deliveries, and of late ones
	outcomeBytes = 16 << 20  // of outcomes that wait; beyond, no attempt is begun
)

// writer commits everything that waits in one transaction, as often as the disk allows: the batch is what arrived
// while the last commit ran. It is the one place that writes to the journal.
type writer struct {
	e *Engine

	mu      sync.Mutex
	state   writerState
	accepts []*accepted
	writes  []writing
	found   []*owed // by recovery, for the ledger
	whole   bool    // recovery has found everything and written the rows: only then is there a mark
	mark    bool    // move the recovery mark with the next commit
	broken  error
	began   time.Time     // of the commit under way; zero: none is
	wake    chan struct{} // capacity 1: sent to by whoever adds something; never closed
	ended   chan struct{} // closed when state becomes writerEnded
	eased   chan struct{} // closed when there is room for outcomes again, and made anew
	bytes   atomic.Int64  // of outcomes that are not committed

	// Only the writer's goroutine uses these once it runs.
	ledger   ledger
	last     store.Seq // the last one given
	marked   store.Seq // the recovery mark last committed
	accepted bool      // something was accepted since, or is not committed
	late     bool      // there may be deliveries that take long and have no row
	added    bool      // the last commit had rows that nobody waits for: theirs, spilled ones', numbers
	spills   []spills  // what has no place in memory and gets its rows with the coming commits, tenant by tenant
	batch    store.Batch
	rollups  map[rollupKey]*store.Rollup // counted, and not to be taken yet
	rolling  map[rollupKey]*store.Rollup // taken by the coming commits
	took     []rollupKey                 // of them, by the commit that is being made
}

// spills is a tenant's events of which there are deliveries that have neither a place in memory nor a row.
type spills struct {
	tenant string
	list   []*owed
}

// rollupKey is a webhook's minute.
type rollupKey struct{ webhook, minute int64 }

func newWriter(e *Engine) *writer {
	return &writer{e: e, wake: make(chan struct{}, 1), ended: make(chan struct{}), eased: make(chan struct{}),
		rollups: map[rollupKey]*store.Rollup{}, rolling: map[rollupKey]*store.Rollup{}}
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// submit hands a publisher's request over.
func (w *writer) submit(a *accepted) error {
	failpoint.Hit(failpoint.Submit)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.check(); err != nil {
		return err
	}
	w.accepts = append(w.accepts, a)
	w.poke()
	return nil
}

// write hands rows over, to be committed in their order. They are answered also when the writer has ended.
func (w *writer) write(list ...writing) {
	w.mu.Lock()
	if w.state == writerEnded {
		err := w.reason()
		w.mu.Unlock()
		refuse(list, err)
		return
	}
	for i := range list {
		w.bytes.Add(list[i].size())
	}
	w.writes = append(w.writes, list...)
	w.mu.Unlock()
	w.poke()
}

// writeAndWait hands rows over and returns after their commit, or when ctx ends or the writer does.
func (w *writer) writeAndWait(ctx context.Context, list ...writing) error {
	done := make(chan error, 1)
	list[len(list)-1].done = done
	w.write(list...)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// size is what an outcome holds in memory until it is committed, bytes.
func (x *writing) size() int64 {
	if x.outcome == nil {
		return 0
	}
	return int64(len(x.outcome.Response)) + 256
}

// room waits until an outcome more may wait for its commit, or the engine stops.
func (w *writer) room() {
	for w.bytes.Load() > outcomeBytes {
		w.mu.Lock()
		eased := w.eased
		w.mu.Unlock()
		if w.bytes.Load() <= outcomeBytes {
			return
		}
		select {
		case <-eased:
		case <-w.ended:
			return
		case <-w.e.running.Done():
			return
		}
	}
}

// ease takes committed outcomes off what waits.
func (w *writer) ease(n int64) {
	if after := w.bytes.Add(-n); after <= outcomeBytes && after+n > outcomeBytes {
		w.mu.Lock()
		close(w.eased)
		w.eased = make(chan struct{})
		w.mu.Unlock()
	}
}

// askMark has the next commit move the recovery mark.
func (w *writer) askMark() {
	w.mu.Lock()
	w.mark = true
	w.mu.Unlock()
	w.poke()
}

// recovered hands over what recovery found, in the order of acceptance. The deliveries are put to work after this.
func (w *writer) recovered(list []*owed) {
	w.mu.Lock()
	w.found = append(w.found, list...)
	w.mu.Unlock()
}

// foundAll says that recovery has found everything, and that what got no place in memory is on record.
func (w *writer) foundAll() {
	w.mu.Lock()
	w.whole, w.mark = true, true
	w.mu.Unlock()
}

// ready fails unless a publisher's request would be taken.
func (w *writer) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.check()
}

// check tells why a publisher's request is not taken; w.mu is held.
func (w *writer) check() error {
	switch {
	case w.broken != nil:
		return w.broken
	case w.state != writerRunning:
		return ErrStopping
	case !w.began.IsZero() && time.Since(w.began) > stalledAfter:
		return fmt.Errorf("the commit under way takes long: %w", store.ErrAway)
	}
	return nil
}

// start lets publishers' requests in and runs the writer's goroutine; false: it was closed before.
func (w *writer) start() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != writerIdle {
		return false
	}
	w.state = writerRunning
	w.e.written.Go(w.run)
	return true
}

// close lets the writer finish what waits and end. One that never ran ends at once.
func (w *writer) close() {
	w.mu.Lock()
	idle := w.state == writerIdle
	if w.state == writerRunning {
		w.state, w.mark = writerClosing, true
	}
	w.mu.Unlock()
	if idle {
		w.end()
	}
	w.poke()
}

// end answers everybody who waits, and from then on whoever comes. It is the one end of the writer, however it came
// about.
func (w *writer) end() {
	w.mu.Lock()
	if w.state == writerEnded {
		w.mu.Unlock()
		return
	}
	w.state = writerEnded
	accepts, writes, err := w.accepts, w.writes, w.reason()
	w.accepts, w.writes = nil, nil
	close(w.ended)
	w.mu.Unlock()
	if n := refuse(writes, err); n > 0 {
		w.e.log.Warn("outcomes could not be written; their deliveries will be made again", "count", n)
	}
	for _, a := range accepts {
		w.e.unplace(a)
		a.err = err
		w.answer(a)
	}
}

// reason is what is said to whoever comes too late; w.mu is held.
func (w *writer) reason() error {
	if w.broken != nil {
		return w.broken
	}
	return ErrStopping
}

// refuse answers rows that will not be written, and counts those that nobody waits for.
func refuse(list []writing, err error) (lost int) {
	for _, x := range list {
		if x.done != nil {
			x.done <- err
		} else if x.outcome != nil {
			lost++
		}
	}
	return lost
}

// answer tells the publisher what became of the submission.
func (w *writer) answer(a *accepted) {
	close(a.done)
	w.e.gate.Give(a.sub.Tenant, a.size)
}

// busy notes when the commit under way began.
func (w *writer) busy(since time.Time) {
	w.mu.Lock()
	w.began = since
	w.mu.Unlock()
}

func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

// taken is what one commit takes.
type taken struct {
	accepts []*accepted
	back    []*accepted // for the next commit: their tenants have enough in this one
	writes  []writing
	mark    bool // once a second: numbers are written, and the recovery mark moves
	whole   bool // there can be a mark
	state   writerState
}

// take is what waits, as far as one commit takes it.
func (w *writer) take() (t taken) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.accepts, w.accepts = divide(w.accepts, commitBytes)
	n := min(len(w.writes), commitRows)
	t.writes, w.writes = w.writes[:n:n], w.writes[n:]
	if len(w.writes) == 0 {
		w.writes = nil
	}
	t.mark, t.whole, t.state = w.mark, w.whole, w.state
	w.mark = false
	for _, o := range w.found {
		w.ledger.enter(o)
	}
	w.found = nil
	return t
}

// divide splits what waits into what the next commit takes and the rest. Each tenant has its part of the bytes, and its
// requests keep their order; one that is larger lets others go first once.
func divide(list []*accepted, limit int64) (now, rest []*accepted) {
	var total int64
	for _, a := range list {
		total += a.size
	}
	if total <= limit {
		return list, nil
	}
	sizes := map[string]int64{}
	for _, a := range list {
		sizes[a.sub.Tenant] = 0
	}
	part := limit / int64(len(sizes))
	for _, a := range list {
		n := sizes[a.sub.Tenant]
		first := n == 0 && (len(sizes) == 1 || a.waited)
		if n < 0 || !first && n+a.size > part {
			sizes[a.sub.Tenant], a.waited = -1, true // full
			rest = append(rest, a)
			continue
		}
		sizes[a.sub.Tenant] += a.size
		now = append(now, a)
	}
	if len(now) == 0 && len(rest) > 0 {
		return divide(list, limit) // all let others go first, and there are none
	}
	return now, rest
}

func (w *writer) run() {
	defer w.end()
	for {
		t := w.take()
		if len(t.accepts) == 0 && len(t.writes) == 0 && !t.mark && len(w.rolling) == 0 && !w.late &&
			len(w.spills) == 0 {
			switch {
			case t.state == writerEnded, t.state == writerClosing && len(w.rollups) == 0:
				return
			case t.state == writerClosing:
				t.mark = true
			default:
				<-w.wake
				continue
			}
		}
		err := w.commit(t)
		if fatal(err) || err != nil && t.state >= writerClosing {
			return // when it closes, nobody waits any more: what is not written will be done again
		}
		// Whoever was answered runs before the next commit: they are queued behind this goroutine on its processor,
		// which it keeps through a commit's computing and some of its flush.
		runtime.Gosched()
	}
}
