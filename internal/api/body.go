package api

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

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
	if err := checkForm(r); err != nil {
		return b, err
	}
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
			return b, checkStart(b)
		case err != nil:
			return b, newProblem(http.StatusBadRequest,
				"The request's body did not arrive whole.").with("Connection", "close")
		}
	}
}

// checkForm refuses a body that says, or shows, that it is something else than JSON as it is (RFC 9110, section
// 15.5.16): what is packed may be a bomb, and what a form of another site posts is not meant for an API.
func checkForm(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	for _, coding := range r.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return newProblem(http.StatusUnsupportedMediaType,
				"The request's body has a Content-Encoding. Send it as it is.").
				with("Accept-Encoding", "identity").with("Connection", "close")
		}
	}
	types := r.Header["Content-Type"]
	if len(types) == 0 || len(types) == 1 && types[0] == "application/json" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(types[0])
	if err != nil || len(types) > 1 || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return newProblem(http.StatusUnsupportedMediaType,
			"The request's body is not said to be JSON. Send Content-Type: application/json.").
			with("Accept", "application/json").with("Connection", "close")
	}
	return nil
}

// checkStart refuses a body whose first bytes are those of something else than JSON in UTF-8.
func checkStart(b []byte) error {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return newProblem(http.StatusBadRequest, "The request's body begins with a byte order mark. Send it without.")
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return newProblem(http.StatusBadRequest, "The request's body is in UTF-16. Send it in UTF-8.")
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		return newProblem(http.StatusBadRequest, "The request's body is packed with gzip. Send it as it is.")
	}
	return nil
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
