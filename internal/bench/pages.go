package bench

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// benchRollups measures what the numbers of the dashboard cost.
func (g *rig) benchRollups(ctx context.Context, b *Report) error {
	return g.withNode(ctx, "/n", func(with *node) error {
		s, err := g.newStore(ctx)
		if err != nil {
			return err
		}
		s.flags = []string{"--no-rollups"}
		return g.withStore(ctx, s, func(without *node) error {
			if err := without.hook(ctx, g, "/n"); err != nil {
				return err
			}
			rate := func(n *node) func() (float64, error) {
				return func() (float64, error) {
					t, err := g.measure(ctx, n, g.batches(), g.Round)
					return t.PerSecond, err
				}
			}
			ratio, _, _, err := paired(rounds, rate(with), rate(without))
			b.target("cost of the rollups on delivered/s", max(0, (1-ratio)*100), "%", 3, 1, true)
			return err
		})
	})
}

// pageRounds is how often each page is asked for.
const pageRounds = 40

// benchPages measures the dashboard's pages on a filled store: the one in --filled, or else one of --events events.
func (g *rig) benchPages(ctx context.Context, b *Report) error {
	n, err := g.filledNode(ctx)
	if err != nil {
		return err
	}
	defer n.end()
	signed, err := n.client.SignIn(ctx)
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	pages, err := pagesOf(ctx, n.client)
	if err != nil {
		return err
	}
	slowest, name, all := 0.0, "", 0
	for _, p := range pages {
		var ns []int64
		for i := range pageRounds + 2 {
			began := time.Now()
			if _, _, err := fetchPage(ctx, n.url+p, signed.Key); err != nil {
				return err
			}
			if i >= 2 { // warm
				ns = append(ns, time.Since(began).Nanoseconds())
			}
		}
		all += len(ns)
		if q := quantile(ns, 0.99); q > slowest {
			slowest, name = q, p
		}
	}
	name = regexp.MustCompile(`[0-9a-f-]{32,}|d_[0-9a-f_]+`).ReplaceAllString(name, "…")
	b.target(fmt.Sprintf("p99 of the slowest of %d pages (%s)", len(pages), name), slowest, "ms", 50, 25, true)
	size, err := firstView(ctx, n.url, signed.Key)
	b.target("first view, compressed", float64(size)/1000, "KB", 150, 60, true)
	return err
}

// filledNode starts a node on a filled store.
func (g *rig) filledNode(ctx context.Context) (*node, error) {
	s := serving{data: g.Filled, shared: g.Filled != "",
		flags: []string{"--retention=20000h", "--undelete-time=20000h"}}
	keyset := g.keyset
	switch {
	case strings.HasPrefix(g.Filled, "postgres"):
		s.data, s.database = "", &database{url: g.Filled}
		if g.FilledKeyset != "" {
			defer func() { g.keyset = keyset }()
			g.keyset = g.FilledKeyset
		}
	case g.Filled == "" && g.server != "":
		var err error
		if s.database, err = g.newDatabase(ctx); err != nil {
			return nil, err
		}
	case g.Filled == "":
		s.data = filepath.Join(g.dir, "filled")
	}
	if g.Filled == "" {
		c := app.FillConfig{To: s.data, Events: g.Events, Progress: func(app.CopyProgress) {}}
		if s.database != nil {
			c.To, c.MasterKeyset = s.database.url, g.keyset
		}
		if err := Fill(ctx, c); err != nil {
			return nil, err
		}
	}
	return g.serve(ctx, s)
}

// pagesOf are the pages that read the history, in every form that asks something else of the store.
func pagesOf(ctx context.Context, c *client.Client) ([]string, error) {
	hooks, err := c.Webhooks(ctx, client.WebhookQuery{})
	if err != nil {
		return nil, err
	}
	events, err := c.Events(ctx, client.EventQuery{Limit: 2})
	if err != nil {
		return nil, err
	}
	gone, err := c.Deliveries(ctx, client.DeliveryQuery{Status: client.StatusExhausted, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(hooks.Webhooks) == 0 || len(events.Events) == 0 || len(gone.Deliveries) == 0 {
		return nil, errors.New("the store is not a filled one: make it with --fill")
	}
	const t = "/t/default"
	one, e := hooks.Webhooks[0].ID, events.Events[0]
	list := []string{t + "/webhooks", t + "/events", t + "/events/" + e.ID, t + "/deliveries/" + gone.Deliveries[0].ID,
		t + "/live", t + "/types", t + "/access",
		t + "/events?type=qap.investor.created", t + "/events?object_id=" + e.ObjectID, t + "/events?object_owner_id=" +
			e.ObjectOwnerID, t + "/events?owner_id=" + e.OwnerID + "&span=720h"}
	for _, period := range []string{"1h", "24h", "7d", "30d"} {
		list = append(list, t+"/?period="+period, t+"/webhooks/"+one+"?period="+period)
	}
	for _, f := range []string{"", "status=waiting", "status=delivered", "status=exhausted", "status=cancelled",
		"code=503", "code=404", "code=2xx", "class=timeout",
		"type=qap.investor.created", "span=1h", "span=720h&status=exhausted"} {
		list = append(list, t+"/deliveries?"+f, t+"/deliveries?webhook="+one+"&"+f)
	}
	return append(list, t+"/deliveries/retry?status=waiting"), nil
}

// fetchPage gets a page as a browser does, compressed, and tells its size on the wire.
func fetchPage(ctx context.Context, url, key string) (body []byte, size int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	r.AddCookie(&http.Cookie{Name: "qhook", Value: key})
	r.Header.Set("Accept-Encoding", "gzip") // so that it is not taken apart
	p, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer p.Body.Close()
	b, err := io.ReadAll(p.Body)
	if err == nil && p.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, p.Status)
	}
	if err != nil || p.Header.Get("Content-Encoding") != "gzip" {
		return b, len(b), err
	}
	plain, err := gunzip(b)
	return plain, len(b), err
}

func gunzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// firstView adds up what a browser loads for the overview the first time.
func firstView(ctx context.Context, base, key string) (int, error) {
	page, size, err := fetchPage(ctx, base+"/t/default/", key)
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:href|src)="(/ui/[^"#]+)`).FindAllSubmatch(page, -1) {
		path := string(m[1])
		if seen[path] {
			continue
		}
		seen[path] = true
		_, n, err := fetchPage(ctx, base+path, key)
		if err != nil {
			return 0, err
		}
		size += n
	}
	if len(seen) < 5 {
		return 0, fmt.Errorf("the overview refers to %d files only", len(seen))
	}
	return size, nil
}
