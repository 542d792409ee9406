package ui_test

import (
	"context"
	"net/url"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// watch fails the test when a page writes an error to the console (a script's, or what the policy refused), or asks
// another host for anything.
func (r *rig) watch(ctx context.Context) {
	var mu sync.Mutex
	var wrong []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		wrong = append(wrong, s)
	}
	own := must(url.Parse(r.url))(r.t).Host
	err := chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *network.EventRequestWillBeSent:
			u, err := url.Parse(e.Request.URL)
			if err != nil || u.Host != own && u.Scheme != "about" && u.Scheme != "data" {
				note("a request to " + e.Request.URL)
			}
		case *runtime.EventExceptionThrown:
			note("a script failed: " + e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			if r.walled && strings.Contains(e.Entry.Text, "net::ERR_EMPTY_RESPONSE") {
				return // the server is away
			}
			if e.Entry.Level == "error" && !strings.Contains(e.Entry.Text, "the server responded with a status of") {
				note("the console says: " + e.Entry.Text + " " + e.Entry.URL)
			}
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range wrong {
			r.t.Error(s)
		}
	})
}
