package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/engine"
	"github.com/quantfolio/qhook/internal/event"
)

const (
	publishPath = "/v1/events"
	batchPath   = "/v1/events/batch"

	keepBuffer = 1 << 20 // a larger buffer is not kept for the next request
)

// NewEvent is the document's form of an event to publish, which may lack what every answer has; event.Parse reads it.
type NewEvent client.Event

// NewEvents is the document's form of a batch.
type NewEvents struct {
	Events []NewEvent `json:"events" minItems:"1" maxItems:"1000" doc:"All are taken, or none."`
}

// registerPublish documents the two publishing calls, and puts them on the mux for its list of methods: ServeHTTP calls
// them itself, without huma, since they are the hot path.
func (a *api) registerPublish() {
	codes := []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable,
		http.StatusInsufficientStorage}
	a.document(operation{
		id: "publish-event", method: http.MethodPost, path: publishPath, tag: "Events", summary: "Publish an event",
		text: "A 202 means: committed and flushed. The same id again with the same content is answered as before and delivers nothing " +
			"new; with other content it is a 409. An Idempotency-Key gives an event without an id one that is made of it.",
		status: http.StatusAccepted, body: NewEvent{}, errors: codes,
	}, client.Published{})
	a.document(operation{
		id: "publish-events", method: http.MethodPost, path: batchPath, tag: "Events",
		summary: "Publish up to 1,000 events, all or none",
		status:  http.StatusAccepted, body: NewEvents{}, errors: codes,
	}, client.PublishedBatch{})
	a.doc.OpenAPI().Components.Schemas.Map()["NewEvent"].Required = []string{"type", "object_id",
		"object_owner_id", "owner_id"}
	a.mux.HandleFunc("POST "+publishPath,
		func(w http.ResponseWriter, r *http.Request) { a.publish(w, r, callerOf(r.Context())) })
	a.mux.HandleFunc("POST "+batchPath,
		func(w http.ResponseWriter, r *http.Request) { a.publishBatch(w, r, callerOf(r.Context())) })
}

// buffer is reused between requests: for the body, then for the answer.
type buffer struct {
	b []byte
	holding
}

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, firstRead)} }}

func (a *api) buffer(c *caller) *buffer {
	b := buffers.Get().(*buffer)
	b.holding = holding{budget: a.bodies, tenant: c.tenant}
	return b
}

func (b *buffer) free() {
	b.release()
	if cap(b.b) <= keepBuffer {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

func (a *api) publish(w http.ResponseWriter, r *http.Request, c *caller) {
	buf := a.buffer(c)
	defer buf.free()
	if err := a.acceptOne(r, c, buf); err != nil {
		a.fail(w, r, err)
		return
	}
	writeAccepted(w, buf.b)
}

// acceptOne leaves the answer in buf.
func (a *api) acceptOne(r *http.Request, c *caller, buf *buffer) (err error) {
	if err := mayPublish(c); err != nil {
		return err
	}
	if buf.b, err = buf.readBody(r, buf.b, event.MaxSize); err != nil {
		return err
	}
	receipts, err := a.acceptEvents(r.Context(), c, buf.b, false, r.Header.Get("Idempotency-Key"))
	if err != nil {
		return err
	}
	buf.b = appendReceipt(buf.b[:0], &receipts[0])
	return nil
}

func mayPublish(c *caller) error {
	if !c.may(publishers) || c.key.Webhook != "" {
		return errForbidden(c.key.Role, publishers)
	}
	if c.ended {
		return errEnded(c.tenant)
	}
	return nil
}

// acceptEvents has the events of a body accepted: of a batch, or the one that it is.
func (a *api) acceptEvents(ctx context.Context, c *caller, body []byte, batch bool, once string) (
	[]engine.Receipt, error) {
	var evs []event.Event
	if batch {
		list, err := event.ParseBatch(body)
		if err != nil {
			return nil, err
		}
		evs = list
	} else {
		ev, err := event.Parse(body)
		if err != nil {
			p, _ := problemOf(err)
			return nil, p.refuse(ev.ID)
		}
		evs = []event.Event{ev}
	}
	if err := nameEvents(c, once, evs); err != nil {
		return nil, err
	}
	if err := a.limits.published(c.tenant, len(evs), len(body), a.clock()); err != nil {
		return nil, err
	}
	receipts, err := a.engine.Accept(ctx, c.tenant, evs)
	if err != nil {
		return nil, fmt.Errorf("accept %d events: %w", len(evs), err)
	}
	return receipts, nil
}

func (a *api) publishBatch(w http.ResponseWriter, r *http.Request, c *caller) {
	buf := a.buffer(c)
	defer buf.free()
	if err := a.acceptBatch(r, c, buf); err != nil {
		a.fail(w, r, err)
		return
	}
	writeAccepted(w, buf.b)
}

// acceptBatch leaves the answer in buf.
func (a *api) acceptBatch(r *http.Request, c *caller, buf *buffer) (err error) {
	if err := mayPublish(c); err != nil {
		return err
	}
	if buf.b, err = buf.readBody(r, buf.b, MaxBatchBody); err != nil {
		return err
	}
	if len(buf.b) >= largeBatch {
		a.large <- struct{}{}
		defer func() { <-a.large }()
	}
	receipts, err := a.acceptEvents(r.Context(), c, buf.b, true, r.Header.Get("Idempotency-Key"))
	if err != nil {
		return err
	}
	buf.b = appendReceipts(buf.b[:0], receipts)
	return nil
}

// publish accepts what is published within the process.
func (s *session) publish(ctx context.Context, in any, batch bool) ([]engine.Receipt, error) {
	c, err := s.caller(ctx, false)
	if err == nil {
		err = mayPublish(c)
	}
	var raw []byte
	if err == nil {
		raw, err = json.Marshal(in)
	}
	if most := map[bool]int{false: event.MaxSize, true: MaxBatchBody}[batch]; err == nil && len(raw) > most {
		err = newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("The request's body is over %d bytes.", most))
	}
	var list []engine.Receipt
	if err == nil {
		list, err = s.a.acceptEvents(ctx, c, raw, batch, "")
	}
	if err != nil {
		return nil, s.a.judge(ctx, "publish", err)
	}
	return list, nil
}

// largeBatch is the size of a body, bytes, from which on parsing and committing it takes so long that others would
// notice. Large ones leave a processor to everything else, the journal's writer above all: where two were parsed at
// once on two processors, every commit waited for them; and where the next was parsed while one was committed, so did
// those who wait for an answer.
const largeBatch = 64 << 10

// jsonContent is shared between answers; nobody writes to it.
var jsonContent = []string{"application/json"}

func writeAccepted(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonContent
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(body)
}

// appendReceipt appends the answer; a type is one of the catalogue and needs no escaping.
func appendReceipt(dst []byte, r *engine.Receipt) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendUUID(dst, r.ID)
	dst = append(dst, `","type":"`...)
	dst = append(dst, r.Type...)
	dst = append(dst, `","time":"`...)
	dst = append(dst, event.FormatTime(r.Time)...)
	dst = append(dst, `","deliveries":`...)
	dst = strconv.AppendInt(dst, int64(r.Deliveries), 10)
	return append(dst, '}', '\n')
}

func appendReceipts(dst []byte, rs []engine.Receipt) []byte {
	dst = append(dst, `{"events":[`...)
	for i := range rs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"id":"`...)
		dst = appendUUID(dst, rs[i].ID)
		dst = append(dst, `","deliveries":`...)
		dst = strconv.AppendInt(dst, int64(rs[i].Deliveries), 10)
		dst = append(dst, '}')
	}
	return append(dst, ']', '}', '\n')
}

func appendUUID(dst []byte, id uuid.UUID) []byte {
	const digits = "0123456789abcdef"
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst
}
