package api

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/quantfolio/qhook/internal/budget"
)

const (
	// bodyBytes is what the bodies of all requests may hold together, from their first byte until they are answered.
	bodyBytes = 64 << 20
	firstRead = 4 << 10  // bytes that a body of unknown length is given at first
	mostAhead = 64 << 10 // and one that says its length: what is only claimed costs nothing
)

// holding is what one request takes of the budget of all.
type holding struct {
	budget *budget.Budget
	tenant string
	n      int64
}

// reach takes up to n bytes in all; an error is a 503.
func (h *holding) reach(n int64) error {
	if n <= h.n {
		return nil
	}
	if !h.budget.Take(h.tenant, n-h.n) {
		p := newProblem(http.StatusServiceUnavailable,
			"Requests hold all the memory that there is for them. Try again in a moment.")
		p.header = http.Header{"Retry-After": {"1"}, "Connection": {"close"}}
		return p
	}
	h.n = n
	return nil
}

func (h *holding) release() {
	h.budget.Give(h.tenant, h.n)
	h.n = 0
}

// readBody reads at most limit bytes into b, which it returns; a longer body is a 413. It takes twice what has arrived:
// the body, and what it is read into.
func (h *holding) readBody(r *http.Request, b []byte, limit int64) ([]byte, error) {
	over := "The request's body is over " + strconv.FormatInt(limit, 10) + " bytes."
	tooLarge := newProblem(http.StatusRequestEntityTooLarge, over).with("Connection", "close")
	most, room := limit+1, int64(firstRead)
	if r.ContentLength > limit {
		return b, tooLarge
	} else if r.ContentLength >= 0 {
		most = r.ContentLength + 1 // to see the end
		room = mostAhead
	}
	for {
		if int64(len(b)) >= room {
			room *= 2
		}
		room = min(room, most)
		if err := h.reach(2 * room); err != nil {
			return b, err
		}
		b = slices.Grow(b, int(room)-len(b))
		n, err := r.Body.Read(b[len(b):room])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > limit:
			return b, tooLarge
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, newProblem(http.StatusBadRequest, "The request's body did not arrive whole.").with("Connection", "close")
		}
	}
}

// held has the request's body read, and counted until next has returned.
func (a *api) held(r *http.Request, c *caller, next func()) error {
	h := holding{budget: a.bodies, tenant: c.tenant}
	defer h.release()
	b, err := h.readBody(r, nil, maxBody)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	next()
	return nil
}
