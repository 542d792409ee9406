package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// connections is the number of connections of the ceiling and of the publishers of single events.
const connections = 64

// rig is a running bench: the receiver's process and how requests are made.
type rig struct {
	Config
	dir      string
	http     *http.Client
	receiver *process
	base     string // the receiver's URL
	arrived  *gauge
	server   string // URL of the PostgreSQL that is measured; empty: SQLite is
	keyset   string // master keyset of nodes on PostgreSQL
}

// startRig starts the receiver and follows its count.
func startRig(ctx context.Context, c Config, dir string) (*rig, error) {
	t := &http.Transport{MaxIdleConns: 4 * connections, MaxIdleConnsPerHost: connections, DisableCompression: true}
	g := &rig{Config: c, dir: dir, http: &http.Client{Transport: t, Timeout: time.Minute}, arrived: newGauge()}
	var err error
	if g.receiver, err = g.startProcess([]string{ReceiverCommand}, nil, 0); err != nil {
		return nil, err
	}
	if g.base, err = g.receiver.awaitLine(ctx, receiverLine); err != nil {
		g.receiver.stop()
		return nil, err
	}
	go g.follow(ctx)
	return g, nil
}

// follow keeps the gauge at the receiver's count until ctx ends.
func (g *rig) follow(ctx context.Context) {
	defer g.arrived.close()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+"/ctl/watch", nil)
	if err != nil {
		return
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if n, err := strconv.ParseInt(s.Text(), 10, 64); err == nil {
			g.arrived.set(n)
		}
	}
}

// control asks the receiver.
func (g *rig) control(ctx context.Context, path string, out any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+path, nil)
	if err != nil {
		return err
	}
	resp, err := g.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(out)
}

// call is one request of a flow.
type call struct {
	method, path string
	tenant       string // empty: the default one
	body         []byte
	status       int // of success
}

// post sends body and wants status.
func (g *rig) post(ctx context.Context, url, key string, body []byte, status int) error {
	return g.send(ctx, url, key, call{method: http.MethodPost, body: body, status: status})
}

func (g *rig) send(ctx context.Context, url, key string, c call) error {
	r, err := http.NewRequestWithContext(ctx, c.method, url+c.path, bytes.NewReader(c.body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if c.tenant != "" {
		r.Header.Set("X-Tenant", c.tenant)
	}
	resp, err := g.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != c.status {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("%s %s: %s %s", c.method, url+c.path, resp.Status, b)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 16<<20))
	return err
}
