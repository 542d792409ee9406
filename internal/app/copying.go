package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/quantfolio/qhook/internal/store"
)

// copying is a Copy under way.
type copying struct {
	cfg      CopyConfig
	from, to side
	tenants  []store.Scope
	webhooks []store.Scope
	counts   map[string]int64 // of the source's tables
}

// part is a scope of a table.
type part struct {
	table string
	store.Scope
}

// scopes finds all of the source.
func (c *copying) scopes(ctx context.Context) error {
	for row, err := range c.from.dump.Rows(ctx, tableOf("tenants"), store.Scope{}, nil, 0) {
		if err != nil {
			return err
		}
		c.tenants = append(c.tenants, store.Scope{Tenant: row[0].(string)})
	}
	t := tableOf("webhooks")
	for _, in := range c.tenants {
		for row, err := range c.from.dump.Rows(ctx, t, in, nil, 0) {
			if err != nil {
				return err
			}
			in.Webhook = row[t.Index("num")].(int64)
			c.webhooks = append(c.webhooks, in)
		}
	}
	return nil
}

func tableOf(name string) *store.Table {
	return &store.Tables[slices.IndexFunc(store.Tables, func(t store.Table) bool { return t.Name == name })]
}

func (c *copying) of(t *store.Table) []store.Scope {
	switch t.Per {
	case store.PerTenant:
		return c.tenants
	case store.PerWebhook:
		return c.webhooks
	}
	return []store.Scope{{}}
}

func (c *copying) copy(ctx context.Context) error {
	if err := c.scopes(ctx); err != nil {
		return err
	}
	last := map[part]store.Row{} // key on the target
	for i := range store.Tables {
		t := &store.Tables[i]
		n, err := c.from.dump.Count(ctx, t)
		if err != nil {
			return err
		}
		c.counts[t.Name] = n
		if err := c.check(ctx, t, last); err != nil {
			return err
		}
	}
	for i := range store.Tables {
		if err := c.table(ctx, &store.Tables[i], last); err != nil {
			return err
		}
	}
	return c.to.dump.Finish(ctx)
}

// check makes sure that what the target has of a table is the beginning of what the source has, and finds where it
// ends.
func (c *copying) check(ctx context.Context, t *store.Table, last map[part]store.Row) error {
	there, err := c.to.dump.Count(ctx, t)
	if err != nil || there == 0 {
		return err
	}
	p := CopyProgress{Step: "looking at", Table: t.Name, Total: there}
	foreign := fmt.Errorf("the target has rows in its table %s that the source has not: give an empty database or a new data folder; nothing was written", t.Name)
	for _, in := range c.of(t) {
		a, b := newSum(), newSum()
		if err := c.add(ctx, b, &c.to, t, in, 0, &p); err != nil {
			return err
		}
		if b.rows == 0 {
			continue
		}
		if err := c.add(ctx, a, &c.from, t, in, b.rows, nil); err != nil {
			return err
		}
		if a.rows != b.rows || a.sum() != b.sum() {
			return foreign
		}
		last[part{t.Name, in}] = t.KeyOf(b.last)
	}
	if p.Done != there {
		return foreign
	}
	return nil
}

// most is how many bytes one transaction writes, about.
const most = 4 << 20

// table copies what the target does not have yet.
func (c *copying) table(ctx context.Context, t *store.Table, last map[part]store.Row) error {
	p := CopyProgress{Step: "copying", Table: t.Name, Total: c.counts[t.Name]}
	var err error
	if p.Done, err = c.to.dump.Count(ctx, t); err != nil {
		return err
	}
	var rows []store.Row
	size := 0
	put := func() error {
		if len(rows) == 0 {
			return nil
		}
		if err := c.to.dump.Put(ctx, t, rows); err != nil {
			return err
		}
		p.Done += int64(len(rows))
		c.cfg.Progress(p)
		rows, size = rows[:0], 0
		return ctx.Err()
	}
	for _, in := range c.of(t) {
		for row, err := range c.from.dump.Rows(ctx, t, in, last[part{t.Name, in}], 0) {
			if err != nil {
				return err
			}
			rows = append(rows, row)
			for _, v := range row {
				switch x := v.(type) {
				case string:
					size += len(x)
				case []byte:
					size += len(x)
				}
			}
			if len(rows) < c.cfg.Batch && size < most {
				continue
			}
			if err := put(); err != nil {
				return err
			}
		}
	}
	return put()
}

// compare reads both sides back.
func (c *copying) compare(ctx context.Context) (list []CopiedTable, err error) {
	var bad []string
	for i := range store.Tables {
		t := &store.Tables[i]
		done := CopiedTable{Name: t.Name}
		for _, s := range []*side{&c.from, &c.to} {
			all := newSum()
			p := CopyProgress{Step: "comparing", Table: t.Name, Total: c.counts[t.Name]}
			for _, in := range c.of(t) {
				if err := c.add(ctx, all, s, t, in, 0, &p); err != nil {
					return list, err
				}
			}
			rows, err := s.dump.Count(ctx, t)
			if err != nil {
				return list, err
			}
			if rows != all.rows && s == &c.from {
				return list, fmt.Errorf("table %s of the source has %d rows, of which %d belong to a tenant and webhook on record: it is damaged, and what is missing is not copied", t.Name, rows, all.rows)
			}
			if s == &c.from {
				done.From, done.Sum = rows, all.sum()
			} else {
				done.To, done.SumAtTo = rows, all.sum()
			}
		}
		list = append(list, done)
		if !done.Same() {
			bad = append(bad, t.Name)
		}
	}
	if len(bad) > 0 {
		return list, fmt.Errorf("the target is not the same as the source in: %s. Do not use it; empty it and copy again", strings.Join(bad, ", "))
	}
	return list, nil
}

// add reads rows into a sum.
func (c *copying) add(ctx context.Context, to *sum, s *side, t *store.Table, in store.Scope, limit int64,
	p *CopyProgress) error {
	for row, err := range s.dump.Rows(ctx, t, in, nil, limit) {
		if err != nil {
			return err
		}
		to.row(row)
		if p == nil {
			continue
		}
		if p.Done++; p.Done%1000 == 0 || p.Done == p.Total {
			c.cfg.Progress(*p)
		}
	}
	return ctx.Err()
}

// sum adds up rows.
type sum struct {
	hash.Hash
	rows int64
	last store.Row
	b    []byte
}

func newSum() *sum { return &sum{Hash: sha256.New()} }

func (s *sum) row(r store.Row) {
	s.b = r.Append(s.b[:0])
	_, _ = s.Write(s.b) // a hash never fails
	s.rows, s.last = s.rows+1, r
}

func (s *sum) sum() (x [sha256.Size]byte) {
	s.Sum(x[:0])
	return x
}
