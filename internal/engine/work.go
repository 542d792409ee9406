package engine

// startWorker runs a worker; places has a place for it.
func (e *Engine) startWorker(h *hook) {
	h.mu.Lock()
	h.workers++
	h.mu.Unlock()
	e.workers.Go(h.work)
}

// work attempts deliveries until there is nothing to do, or others wait for the place.
func (h *hook) work() {
	e := h.e
	owns := true
	for {
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
			e.places.ask(h)
		}
		e.attempt(h, d)
		if e.places.contended() {
			break
		}
	}
	h.mu.Lock()
	h.workers--
	h.mu.Unlock()
	e.places.leave(h)
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
		h.e.places.ask(h)
	}
}
