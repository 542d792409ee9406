package store_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// Webhooks whose texts are the same share what they say; what is each one's own is not shared, and appending to what is
// shared changes no other.
func TestOpenerSharesTexts(t *testing.T) {
	t.Parallel()
	ring, err := webhook.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	newHook := func(id, secret string, types ...string) *webhook.Webhook {
		return &webhook.Webhook{Tenant: "a", ID: id, EventTypes: types, RetrySchedule: webhook.DefaultRetrySchedule(),
			Auth: webhook.Auth{Type: webhook.AuthBasic, Username: "u",
				Secret: webhook.NewSecret("auth " + secret)},
			Headers:     []webhook.Header{{Name: "X-One", Value: webhook.NewSecret("header " + secret)}},
			SigningKeys: []webhook.SigningKey{{ID: "k1", Key: webhook.NewSecret("key " + secret)}}}
	}
	want := []*webhook.Webhook{newHook("1", "one", "**"), newHook("2", "two", "**"),
		newHook("3", "three", "qap.investor.*", "X-One"),
		{Tenant: "a", ID: "4", EventTypes: []string{}, RetrySchedule: []time.Duration{},
			Auth: webhook.Auth{Type: webhook.AuthNone}}}
	o := store.NewOpener(ring)
	var got []*webhook.Webhook
	for _, w := range want {
		r, err := store.SealWebhook(ring, w)
		if err != nil {
			t.Fatal(err)
		}
		x := &webhook.Webhook{Tenant: w.Tenant, ID: w.ID}
		if err := o.Open(&r, x); err != nil {
			t.Fatal(err)
		}
		got = append(got, x)
		_ = append(x.EventTypes, "another")
		_ = append(x.RetrySchedule, time.Hour)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("webhook %d = %+v, want %+v", i, got[i], want[i])
		}
	}
	if slices.Compare(got[0].EventTypes, got[1].EventTypes) != 0 || &got[0].EventTypes[0] != &got[1].EventTypes[0] {
		t.Error("the same text was decoded twice")
	}
}

// A text that is no JSON is an error for each webhook that has it.
func TestOpenerRefusesWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	o := store.NewOpener(nil)
	good := store.WebhookRow{EventTypes: "[]", RetrySchedule: "[]", Auth: "{}", Headers: "[]", SigningKeys: "[]"}
	for range 2 {
		for _, spoil := range []func(*store.WebhookRow){
			func(r *store.WebhookRow) { r.EventTypes = "[1]" }, func(r *store.WebhookRow) { r.RetrySchedule = "[" },
			func(r *store.WebhookRow) { r.Auth = "" }, func(r *store.WebhookRow) { r.Headers = "{}" },
			func(r *store.WebhookRow) { r.SigningKeys = "7" },
		} {
			r := good
			spoil(&r)
			if err := o.Open(&r, &webhook.Webhook{ID: "w"}); err == nil {
				t.Errorf("Open(%+v) = nil, want an error", r)
			}
		}
	}
	if err := o.Open(&good, &webhook.Webhook{ID: "w"}); err != nil {
		t.Errorf("Open of what is good = %v", err)
	}
}
