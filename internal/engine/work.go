package engine

// startWorker runs a worker; places has a place for it.
func (e *Engine) startWorker(h *hook, o *origin) {
	h.mu.Lock()
	h.workers++
	h.mu.Unlock()
	e.workers.Go(func() { h.work(o) })
}

// work attempts deliveries until there is nothing to do, others wait for the place, or the webhook's target is another.
func (h *hook) work(o *origin) {
	e := h.e
	owns := true
	for h.conf.Load().origin == o {
		if owns = e.cfg.Journal.Lease(e.attempts) == nil; !owns {
			break
		}
		e.writer.room()
		h.mu.Lock()
		d := h.next()
		ask := d != nil && h.wantsWorker()
		h.mu.Unlock()
		if d == nil {
			break
		}
		if ask {
			h.askWorker()
		}
		e.attempt(h, d)
		if e.places.contended(o) {
			break
		}
	}
	h.mu.Lock()
	h.workers--
	h.mu.Unlock()
	e.places.leave(h, o)
	if owns { // else it would come back at once, and find the same
		h.kick() // something may have come meanwhile
	}
}

// kick asks for a worker if there is something to do.
func (h *hook) kick() {
	h.mu.Lock()
	ask := h.wantsWorker()
	h.mu.Unlock()
	if ask {
		h.askWorker()
	}
}

// askWorker asks for a worker, which starts as soon as there is a place for it.
func (h *hook) askWorker() { h.e.places.ask(h, h.conf.Load().origin) }
