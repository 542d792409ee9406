package ui

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/inert"
)

type livePage struct {
	Search     search
	WebhookIDs []string
	Names      map[string]string
	Types      []client.EventType
	Recent     []client.Delivery
}

func (u *UI) live(v *visit) error {
	p := livePage{Search: searchOf(v.r.URL.Query())}
	var err error
	if p.WebhookIDs, p.Names, err = v.webhookNames(); err != nil {
		return err
	}
	if p.Types, err = v.c.EventTypes(v.r.Context()); err != nil {
		return err
	}
	err = p.Search.ask(func(f filter) error {
		recent, err := v.c.Deliveries(v.r.Context(), client.DeliveryQuery{WebhookID: f.Get("webhook"),
			EventType: f.Get("type"), Limit: 20})
		p.Recent = recent.Deliveries
		return err
	})
	if err != nil {
		return err
	}
	u.show(v, p.Search.status(), "live", "Live", p)
	return nil
}

// liveRow is an attempt as it is shown.
type liveRow struct {
	client.LiveAttempt
	Name string
	Base string
}

// liveStream gives the rows of attempts as they happen.
func (u *UI) liveStream(v *visit) error {
	f := filter(v.r.URL.Query())
	_, names, err := v.webhookNames()
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/event-stream")
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.Header().Set("X-Accel-Buffering", "no") // nginx passes on what has come, and does not wait for more
	rc := http.NewResponseController(v.w)
	_ = rc.SetWriteDeadline(time.Time{}) // where it cannot be lifted, the browser connects again
	send := func(text string) bool {
		_, err := fmt.Fprint(v.w, text)
		return err == nil && rc.Flush() == nil
	}
	if !send(": connected\n\n") {
		return nil
	}
	q := client.LiveQuery{WebhookID: f.Get("webhook"), EventType: f.Get("type"), Outcome: f.Get("outcome")}
	for a, err := range v.c.Live(v.r.Context(), q) {
		if err != nil {
			u.log.DebugContext(v.r.Context(), "the stream of a live page ended", "error", err)
			return nil
		}
		name := names[a.WebhookID]
		if name == "" {
			name = short(a.WebhookID)
		}
		var b bytes.Buffer
		if err := u.pages.execute(&b, "live", "live-row", liveRow{a, name, v.base()}); err != nil {
			u.log.ErrorContext(v.r.Context(), "a row of a live page could not be made", "error", err)
			return nil
		}
		if !send("data: " + strings.Join(strings.Fields(string(inert.Text(b.Bytes()))), " ") + "\n\n") {
			return nil
		}
	}
	return nil
}
