package ui_test

import (
	"testing"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// TestWhyNothingIsSent: pages say when a receiver asked for a wait, and when the sender's own way out is closed.
func TestWhyNothingIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.webhook("/busy", "Busy")
	r.publish(1)
	eventually(t, "the wait is kept", func() bool {
		return !must(r.operator.Webhook(t.Context(), w.ID))(t).HeldUntil.IsZero()
	})
	ctx := r.browser()
	r.signIn(ctx)
	r.do(ctx, r.open("/webhooks/"+w.ID), says("asked for a wait until"))

	r = rigOn(t, t.TempDir(), func(c *app.Config) { c.EgressProxy = "http://127.0.0.1:1" })
	r.webhook("/ok", "Ok")
	r.publish(1)
	eventually(t, "the proxy is found down", func() bool {
		return must(r.operator.WebhookStats(t.Context(), client.Day, ""))(t).ProxyDown
	})
	ctx = r.browser()
	r.signIn(ctx)
	r.do(ctx, r.open("/"), says("own proxy gives no connections"))
}
