package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Advisor advises investors.
type Advisor struct {
	ID        string    `json:"id,omitempty"`
	Name      string    `json:"name"`
	Email     string    `json:"email,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	ETag      string    `json:"-"` // names this version
}

// Investor is a person or a company that is advised.
type Investor struct {
	ID        string    `json:"id,omitempty"`
	AdvisorID string    `json:"advisor_id,omitempty"`
	Type      string    `json:"investor_type"` // person or company
	Name      string    `json:"investor_name"`
	Email     string    `json:"email,omitempty"`
	Country   string    `json:"country,omitempty"`
	Reference string    `json:"reference,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	DeletedAt time.Time `json:"deleted_at,omitzero"` // zero: not soft-deleted
	ETag      string    `json:"-"`                   // names this version
}

// AdviceSession is one session of advice to an investor.
type AdviceSession struct {
	ID             string    `json:"id,omitempty"`
	InvestorID     string    `json:"investor_id,omitempty"`
	Title          string    `json:"title"`
	Objective      string    `json:"objective,omitempty"`
	RiskProfile    string    `json:"risk_profile,omitempty"`
	HorizonYears   int       `json:"horizon_years,omitempty"`
	Recommendation string    `json:"recommendation,omitempty"`
	Status         string    `json:"status,omitempty"` // open or completed
	CreatedAt      time.Time `json:"created_at,omitzero"`
	UpdatedAt      time.Time `json:"updated_at,omitzero"`
	CompletedAt    time.Time `json:"completed_at,omitzero"`
	DeletedAt      time.Time `json:"deleted_at,omitzero"` // zero: not soft-deleted
	ETag           string    `json:"-"`                   // names this version
}

// Report is a document made from a completed advice session.
type Report struct {
	ID          string    `json:"id"`
	SessionID   string    `json:"advice_session_id"`
	ContentType string    `json:"content_type"`
	Size        int       `json:"size"` // bytes
	CreatedAt   time.Time `json:"created_at,omitzero"`
	URL         string    `json:"url"` // its path on the server
}

// Patch is a change of an object of the advisory platform: a JSON merge patch (RFC 7396) by property, such as
// {"investor_name": "Jane Doe"}; a nil value empties the property.
type Patch map[string]any

// Page is one page of a list; Next is empty on the last.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// InvestorQuery selects investors; zero fields select all.
type InvestorQuery struct {
	AdvisorID string
	Type      string
	Reference string
	Deleted   bool   // the soft-deleted ones, in place of the others
	Cursor    string // the Next of the page before
	Limit     int
}

// CreateAdvisor makes an advisor. idempotencyKey, unless empty, makes a repetition do nothing new.
func (c *Client) CreateAdvisor(ctx context.Context, a Advisor, idempotencyKey string) (out Advisor, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPost, path: "/v1/advisors", in: a, out: &out, once: idempotencyKey})
	return out, err
}

// Advisors lists advisors, a page from cursor on ("": the first).
func (c *Client) Advisors(ctx context.Context, cursor string) (out Page[Advisor], err error) {
	_, err = c.object(ctx, request{method: http.MethodGet, path: "/v1/advisors", query: page(cursor, 0, time.Time{}, time.Time{}), out: &out})
	return out, err
}

// UpdateAdvisor changes an advisor; with an etag only if it is still that version.
func (c *Client) UpdateAdvisor(ctx context.Context, id, etag string, p Patch) (out Advisor, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPatch, path: "/v1/advisors/" + url.PathEscape(id), ifMatch: etag, in: p, out: &out})
	return out, err
}

// DeleteAdvisor deletes an advisor who has no investors.
func (c *Client) DeleteAdvisor(ctx context.Context, id string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/advisors/" + url.PathEscape(id)})
	return err
}

// CreateInvestor makes an investor. idempotencyKey, unless empty, makes a repetition do nothing new.
func (c *Client) CreateInvestor(ctx context.Context, i Investor, idempotencyKey string) (out Investor, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPost, path: "/v1/investors", in: i, out: &out, once: idempotencyKey})
	return out, err
}

// Investors lists investors.
func (c *Client) Investors(ctx context.Context, q InvestorQuery) (out Page[Investor], err error) {
	v := page(q.Cursor, q.Limit, time.Time{}, time.Time{})
	for name, s := range map[string]string{"advisor_id": q.AdvisorID, "investor_type": q.Type, "reference": q.Reference} {
		if s != "" {
			v.Set(name, s)
		}
	}
	if q.Deleted {
		v.Set("deleted", "true")
	}
	_, err = c.object(ctx, request{method: http.MethodGet, path: "/v1/investors", query: v, out: &out})
	return out, err
}

// Investor reads an investor that is not soft-deleted.
func (c *Client) Investor(ctx context.Context, id string) (out Investor, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodGet, path: investorPath(id), out: &out})
	return out, err
}

// UpdateInvestor changes an investor; with an etag only if it is still that version.
func (c *Client) UpdateInvestor(ctx context.Context, id, etag string, p Patch) (out Investor, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPatch, path: investorPath(id), ifMatch: etag, in: p, out: &out})
	return out, err
}

// DeleteInvestor soft-deletes an investor, or deletes it permanently, with its advice sessions.
func (c *Client) DeleteInvestor(ctx context.Context, id string, permanent bool) error {
	return c.remove(ctx, investorPath(id), permanent)
}

// RestoreInvestor restores a soft-deleted investor.
func (c *Client) RestoreInvestor(ctx context.Context, id string) (out Investor, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPost, path: investorPath(id) + "/restore", out: &out})
	return out, err
}

// CreateAdviceSession makes an advice session of an investor. idempotencyKey, unless empty, makes a repetition do nothing new.
func (c *Client) CreateAdviceSession(ctx context.Context, investor string, s AdviceSession, idempotencyKey string) (out AdviceSession, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPost, path: investorPath(investor) + "/advice-sessions", in: s, out: &out, once: idempotencyKey})
	return out, err
}

// AdviceSessions lists an investor's advice sessions, a page from cursor on ("": the first); deleted lists the
// soft-deleted ones in place of the others.
func (c *Client) AdviceSessions(ctx context.Context, investor string, deleted bool, cursor string) (out Page[AdviceSession], err error) {
	v := page(cursor, 0, time.Time{}, time.Time{})
	if deleted {
		v.Set("deleted", "true")
	}
	_, err = c.object(ctx, request{method: http.MethodGet, path: investorPath(investor) + "/advice-sessions", query: v, out: &out})
	return out, err
}

// AdviceSession reads an advice session that is not soft-deleted.
func (c *Client) AdviceSession(ctx context.Context, id string) (out AdviceSession, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodGet, path: sessionPath(id), out: &out})
	return out, err
}

// UpdateAdviceSession fills in an advice session; with an etag only if it is still that version.
func (c *Client) UpdateAdviceSession(ctx context.Context, id, etag string, p Patch) (out AdviceSession, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPatch, path: sessionPath(id), ifMatch: etag, in: p, out: &out})
	return out, err
}

// CompleteAdviceSession completes an advice session; then it cannot change any more.
func (c *Client) CompleteAdviceSession(ctx context.Context, id string) (out AdviceSession, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPost, path: sessionPath(id) + "/complete", out: &out})
	return out, err
}

// DeleteAdviceSession soft-deletes an advice session, or deletes it permanently, with its reports.
func (c *Client) DeleteAdviceSession(ctx context.Context, id string, permanent bool) error {
	return c.remove(ctx, sessionPath(id), permanent)
}

// RestoreAdviceSession restores a soft-deleted advice session.
func (c *Client) RestoreAdviceSession(ctx context.Context, id string) (out AdviceSession, err error) {
	out.ETag, err = c.object(ctx, request{method: http.MethodPost, path: sessionPath(id) + "/restore", out: &out})
	return out, err
}

// CreateReport makes a report of a completed advice session. idempotencyKey, unless empty, makes a repetition do nothing new.
func (c *Client) CreateReport(ctx context.Context, session, idempotencyKey string) (out Report, err error) {
	_, err = c.object(ctx, request{method: http.MethodPost, path: sessionPath(session) + "/reports", out: &out, once: idempotencyKey})
	return out, err
}

// Reports lists the reports of an advice session, a page from cursor on ("": the first).
func (c *Client) Reports(ctx context.Context, session, cursor string) (out Page[Report], err error) {
	_, err = c.object(ctx, request{method: http.MethodGet, path: sessionPath(session) + "/reports", query: page(cursor, 0, time.Time{}, time.Time{}), out: &out})
	return out, err
}

// Report downloads a report.
func (c *Client) Report(ctx context.Context, session, id string) (content []byte, err error) {
	_, err = c.do(ctx, request{method: http.MethodGet, path: sessionPath(session) + "/reports/" + url.PathEscape(id), raw: &content})
	return content, err
}

func (c *Client) object(ctx context.Context, q request) (etag string, err error) {
	h, err := c.do(ctx, q)
	return h.Get("ETag"), err
}

func (c *Client) remove(ctx context.Context, path string, permanent bool) error {
	q := request{method: http.MethodDelete, path: path}
	if permanent {
		q.query = url.Values{"permanent": {strconv.FormatBool(true)}}
	}
	_, err := c.do(ctx, q)
	return err
}

func investorPath(id string) string { return "/v1/investors/" + url.PathEscape(id) }

func sessionPath(id string) string { return "/v1/advice-sessions/" + url.PathEscape(id) }
