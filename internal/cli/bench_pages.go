package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/app"
)

// rollupRounds is how often a node with and one without numbers are measured in turn.
const rollupRounds = 7

// benchRollups measures what the numbers of the dashboard cost.
func (g *rig) benchRollups(ctx context.Context, b *benchReport) error {
	return g.withNode(ctx, "/n", func(with *node) error {
		flags := g.cmd.ServeFlag
		g.cmd.ServeFlag = append(slices.Clone(flags), "--no-rollups")
		without, err := g.startNode(ctx)
		g.cmd.ServeFlag = flags
		if err != nil {
			return err
		}
		defer without.end()
		if err := without.hook(ctx, g, "/n"); err != nil {
			return err
		}
		var ratios []float64
		for round := range rollupRounds {
			var rates [2]float64
			for k := range 2 {
				i := (k + round) % 2 // in turn, so that a machine that slows down favours neither
				t, err := g.measure(ctx, []*node{with, without}[i], g.batches(), max(g.cmd.Duration/2, 100*time.Millisecond))
				if err != nil {
					return err
				}
				rates[i] = t.PerSecond
			}
			ratios = append(ratios, rates[0]/rates[1])
		}
		slices.Sort(ratios)
		b.target("cost of the rollups on delivered/s", max(0, (1-ratios[len(ratios)/2])*100), "%", 5, 2, true)
		return nil
	})
}

// fillStore fills a store as --fill says.
func (c *benchCmd) fillStore(r *run) error {
	cfg := app.FillConfig{To: c.Fill, Events: c.Events, Progress: progress(r.stderr, 5*time.Second), MasterKeyset: os.Getenv("QHOOK_MASTER_KEYSET")}
	began := time.Now()
	if err := app.Fill(r.ctx, cfg, newLogger(r.stderr, app.Config{LogFormat: "text", LogLevel: "warn"})); err != nil {
		return fmt.Errorf("fill %s: %w", c.Fill, err)
	}
	r.printf("%d events with %d deliveries in %.0f s.\n", c.Events, 2*c.Events, time.Since(began).Seconds())
	return nil
}

// pageRounds is how often each page is asked for.
const pageRounds = 40

// benchPages measures the dashboard's pages on a filled store: the one in --filled, or else one of --events events.
func (g *rig) benchPages(ctx context.Context, b *benchReport) error {
	n, err := g.filledNode(ctx)
	if err != nil {
		return err
	}
	defer n.stop()
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
	b.target(fmt.Sprintf("p99 of the slowest of %d pages (%s)", len(pages), name), slowest, "ms", 100, 25, true)
	size, err := firstView(ctx, n.url, signed.Key)
	b.target("first view, compressed", float64(size)/1000, "KB", 150, 60, true)
	return err
}

// filledNode starts a node on a filled store.
func (g *rig) filledNode(ctx context.Context) (*node, error) {
	place, db := g.cmd.Filled, (*benchDatabase)(nil)
	keyset := ""
	switch {
	case strings.HasPrefix(place, "postgres"):
		db, keyset = &benchDatabase{url: place}, os.Getenv("QHOOK_MASTER_KEYSET")
	case place == "" && g.cmd.Database != "":
		var err error
		if db, err = g.newDatabase(ctx); err != nil {
			return nil, err
		}
		place, keyset = db.url, g.keyset
	}
	if g.cmd.Filled == "" {
		if place == "" {
			place = filepath.Join(g.dir, "filled")
		}
		if err := app.Fill(ctx, app.FillConfig{To: place, MasterKeyset: keyset, Events: g.cmd.Events, Progress: func(app.CopyProgress) {}}, newLogger(io.Discard, app.Config{})); err != nil {
			return nil, err
		}
	}
	flags, shared := g.cmd.ServeFlag, g.keyset
	defer func() { g.cmd.ServeFlag, g.keyset = flags, shared }()
	g.cmd.ServeFlag = append(slices.Clone(flags), "--retention=20000h", "--undelete-time=20000h")
	if db == nil {
		g.cmd.ServeFlag = append(g.cmd.ServeFlag, "--data="+place)
	} else if keyset != "" {
		g.keyset = keyset
	}
	return g.serve(ctx, db)
}

// pagesOf are the pages that read the history, in every form that asks something else of the store.
func pagesOf(ctx context.Context, c *client.Client) ([]string, error) {
	hooks, err := c.Webhooks(ctx, "")
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
	list := []string{t + "/webhooks", t + "/events", t + "/events/" + e.ID, t + "/deliveries/" + gone.Deliveries[0].ID, t + "/live", t + "/types", t + "/access",
		t + "/events?type=qap.investor.created", t + "/events?object_id=" + e.ObjectID, t + "/events?object_owner_id=" + e.ObjectOwnerID, t + "/events?owner_id=" + e.OwnerID + "&span=720h"}
	for _, period := range []string{"1h", "24h", "7d", "30d"} {
		list = append(list, t+"/?period="+period, t+"/webhooks/"+one+"?period="+period)
	}
	for _, f := range []string{"", "status=waiting", "status=delivered", "status=exhausted", "status=cancelled", "code=503", "code=404", "code=2xx", "class=timeout",
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
