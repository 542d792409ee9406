package ui_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// filled gives the server something to show, and returns the paths of all pages by name.
func (r *rig) filled() map[string]string {
	r.t.Helper()
	ctx := r.t.Context()
	bank := r.webhook("/ok", "Northwind core banking", time.Hour)
	crm := r.webhook("/down", "Old CRM", time.Hour)
	portal := r.webhook("/flaky", "Client portal", time.Second)
	r.failing.Store(true)
	ids := r.publish(3)
	r.failing.Store(false)
	eventually(r.t, "the last event is delivered", func() bool {
		q := client.DeliveryQuery{WebhookID: bank.ID, EventID: ids[len(ids)-1], Status: client.StatusDelivered}
		list := must(r.operator.Deliveries(ctx, q))(r.t)
		return len(list.Deliveries) == 1
	})
	ada := must(r.operator.CreateAdvisor(ctx, client.NewAdvisor{Name: "Ada Adler", Email: "ada@example.com"}, ""))(r.t)
	investor := client.NewInvestor{AdvisorID: ada.ID, Type: "person", Name: "Jane Doe", Country: "CH"}
	jane := must(r.operator.CreateInvestor(ctx, investor, ""))(r.t)
	s := must(r.operator.CreateAdviceSession(ctx, jane.ID, client.NewAdviceSession{
		Title: "Retirement plan", Objective: "Retire at 62.", RiskProfile: "balanced", HorizonYears: 15,
		Recommendation: "60 % equities, 40 % bonds.",
	}, ""))(r.t)
	must(r.operator.CompleteAdviceSession(ctx, s.ID))(r.t)
	must(r.operator.CreateReport(ctx, s.ID, ""))(r.t)
	must(r.operator.CreateAPIKey(ctx, client.NewAPIKey{Role: client.RolePublisher, Name: "advice service"}))(r.t)
	if r.tenant == "" {
		must(r.operator.CreateTenant(ctx, client.NewTenant{ID: "acme", Name: "Acme Advisory"}))(r.t)
	}
	eventually(r.t, "the numbers are there", func() bool {
		return must(r.operator.Stats(ctx, client.Hour, bank.ID))(r.t).Delivered > 0
	})
	failed := client.DeliveryQuery{WebhookID: crm.ID, LastStatus: "503", Limit: 1}
	late := must(r.operator.Deliveries(ctx, failed))(r.t).Deliveries[0]
	t := "/t/" + cmp.Or(r.tenant, "default")
	return map[string]string{
		"sign-in":          "/sign-in",
		"overview":         t + "/?period=1h",
		"webhooks":         t + "/webhooks",
		"webhook":          t + "/webhooks/" + crm.ID + "?period=1h",
		"webhook-new":      t + "/webhooks/new",
		"webhook-edit":     t + "/webhooks/" + portal.ID + "/edit",
		"webhook-test":     t + "/webhooks/" + bank.ID + "/test",
		"webhook-verify":   t + "/webhooks/" + bank.ID + "/verify",
		"webhook-key":      t + "/webhooks/" + bank.ID + "/key",
		"webhook-delete":   t + "/webhooks/" + crm.ID + "/delete",
		"events":           t + "/events",
		"event":            t + "/events/" + ids[0],
		"deliveries":       t + "/deliveries",
		"delivery":         t + "/deliveries/" + late.ID,
		"retry":            t + "/deliveries/retry?status=waiting",
		"live":             t + "/live",
		"types":            t + "/types",
		"platform":         t + "/platform",
		"investor":         t + "/platform/investors/" + jane.ID,
		"session":          t + "/platform/sessions/" + s.ID,
		"access":           t + "/access",
		"tenants":          t + "/tenants",
		"missing":          t + "/webhooks/none",
		"wrong-deliveries": t + "/deliveries?code=abc&status=lost&until=tomorrow",
		"wrong-events":     t + "/events?id=12345&since=yesterday",
		"same-gone":        t + "/access?answer=none",
		"same-stopped":     t + "/deliveries/retry?status=waiting&cursor=x&count=540&done=200",
		"same-done":        t + "/deliveries/retry?status=waiting&ended=1&done=540",
		"empty":            "/t/acme/",
		"empty-webhooks":   "/t/acme/webhooks",
		"empty-deliveries": "/t/acme/deliveries",
	}
}

// look sets how the page is seen.
func look(scheme string, width, height int64) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		if err != nil {
			return chromedp.Void{}, err
		}
		return chromedp.EmulateViewport(width, height)(ctx, t)
	}
}

// TestScreenshots writes a picture of every page, light and dark, wide and narrow, to the folder in QHOOK_SCREENSHOTS.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("QHOOK_SCREENSHOTS")
	if dir == "" {
		t.Skip("pictures are written by make screenshots")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	filling := app.FillConfig{To: data, Events: 40_000, Progress: func(app.CopyProgress) {}}
	if err := app.Fill(t.Context(), filling, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r := rigOn(t, data)
	ctx := r.browser()
	// What has a history is shown of the tenant default, and what is done of another.
	hooks, err := r.operator.WebhookStats(t.Context(), client.Day, "")
	if err != nil {
		t.Fatal(err)
	}
	exhausted := client.DeliveryQuery{Status: client.StatusExhausted, Limit: 1}
	gone := must(r.operator.Deliveries(t.Context(), exhausted))(t).Deliveries[0]
	must(r.operator.CreateTenant(t.Context(), client.NewTenant{ID: "northwind", Name: "Northwind Advisory"}))(t)
	must(r.operator.CreateTenant(t.Context(), client.NewTenant{ID: "acme", Name: "Acme Advisory"}))(t)
	r.tenant = "northwind"
	r.operator = client.New(r.url, adminKey, client.WithTenant(r.tenant))
	pages := r.filled()
	pages["busy-overview"] = "/t/default/?period=24h"
	pages["busy-webhooks"] = "/t/default/webhooks"
	pages["busy-events"] = "/t/default/events"
	pages["busy-webhook"] = "/t/default/webhooks/" + hooks.Items[0].ID + "?period=7d"
	pages["busy-delivery"] = "/t/default/deliveries/" + gone.ID
	pages["busy-deliveries"] = "/t/default/deliveries?status=exhausted"
	r.signIn(ctx)
	for _, scheme := range []string{"light", "dark"} {
		for form, width := range map[string]int64{"wide": 1280, "phone": 390} {
			r.do(ctx, look(scheme, width, 860))
			for name, path := range pages {
				r.do(ctx, chromedp.Navigate(r.url+path), chromedp.WaitReady("//main"),
					chromedp.Sleep(150*time.Millisecond))
				shot := must(chromedp.Run(ctx, chromedp.FullScreenshot(100)))(t)
				file := filepath.Join(dir, fmt.Sprintf("%s-%s-%s.png", name, scheme, form))
				if err := os.WriteFile(file, shot, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
