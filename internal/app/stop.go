package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// lastTime is what a stop takes beyond its time at most: to record what it broke off, and to close the rest.
	lastTime = 7 * time.Second
	// leastStep is what each step has even when all time is over; there are fewer than ten.
	leastStep = 100 * time.Millisecond
	// saidAfter is how long a step goes on before the log says so.
	saidAfter = time.Second
)

// Stop ends the node within ctx and the configured times, and lastTime more. It drains first, then it takes no new
// requests, then what is under way is finished or broken off, then the store is closed. What does not end in time is
// left behind and named in the error. Safe to call twice, before Start, and while Start runs.
func (a *App) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.drainTime()+a.cfg.StopTimeout)
	defer cancel()
	a.once.Do(func() {
		a.halt()
		go a.end(ctx)
	})
	select {
	case <-a.ended:
		return a.stopErr
	case <-ctx.Done():
	}
	t := time.NewTimer(lastTime + time.Second)
	defer t.Stop()
	select {
	case <-a.ended:
		return a.stopErr
	case <-t.C:
		return errors.New("the stop that began before has not ended in time")
	}
}

// end is what Stop does, once. What is under way may finish until ctx ends.
func (a *App) end(ctx context.Context) {
	defer close(a.ended)
	a.drain(ctx)
	a.stop()
	s, over := newStopping(ctx, a.log)
	defer over()
	s.step("the start", func() error {
		a.startM.Lock()
		defer a.startM.Unlock()
		return nil
	})
	s.step("requests under way", func() error { return errors.Join(a.api.Shutdown(ctx), a.api.Close()) })
	if a.advisory != nil {
		s.step("the advisory platform", func() error { a.advisory.Stop(); return nil })
	}
	if a.metrics != nil {
		s.step("metrics", func() error { return errors.Join(a.metrics.Shutdown(ctx), a.metrics.Close()) })
	}
	s.step("what runs in the background", func() error { a.background.Wait(); return nil })
	s.step("attempts under way", func() error { return a.engine.Load().Stop(ctx) })
	s.step("connections to receivers", func() error { a.sender.Close(); return nil })
	s.step("the store", a.store.Close)
	a.stopErr = errors.Join(s.errs...)
}

// drainTime is how long a stopping node goes on serving. A node on its own has no other that requests could go to.
func (a *App) drainTime() time.Duration {
	if a.shared == nil {
		return 0
	}
	return a.cfg.Drain
}

// drain goes on serving while /readyz says no, so that a balancer has the time to send requests to other nodes.
func (a *App) drain(ctx context.Context) {
	d := a.drainTime()
	if d <= 0 || !a.serving.Load() {
		return
	}
	a.log.Info("draining: /readyz says no, requests are still answered", "for", d)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-a.dead: // it can serve no more
	}
}

// stopping is an orderly end, step by step, that never takes longer than it may.
type stopping struct {
	log  *slog.Logger
	hard context.Context // ends lastTime after the stop's time
	errs []error
}

func newStopping(soft context.Context, log *slog.Logger) (*stopping, context.CancelFunc) {
	hard, cancel := context.WithCancel(context.Background())
	unhook := context.AfterFunc(soft, func() { time.AfterFunc(lastTime, cancel) })
	return &stopping{log: log, hard: hard}, func() { unhook(); cancel() }
}

// step waits for f, but not beyond the end.
func (s *stopping) step(name string, f func() error) {
	done := make(chan error, 1) // sent to once by the goroutine below, never closed
	go func() { done <- f() }()
	least, said := time.NewTimer(leastStep), time.NewTimer(saidAfter)
	defer least.Stop()
	defer said.Stop()
	hard := s.hard.Done()
	for over := 0; over < 2; {
		select {
		case err := <-done:
			if err != nil {
				s.errs = append(s.errs, fmt.Errorf("%s: %w", name, err))
			}
			return
		case <-said.C:
			s.log.Info("stopping: waiting", "for", name)
		case <-least.C:
			over++
		case <-hard:
			hard = nil
			over++
		}
	}
	s.errs = append(s.errs, fmt.Errorf("%s did not end in time and is left behind", name))
}
