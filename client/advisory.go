package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Advisor advises investors.
type Advisor struct {
	ID        string `json:"id" format:"uuid" doc:"Its ID."`
	Name      string `json:"name" doc:"For people: what it is called."`
	Email     string `json:"email,omitempty" doc:"An email address."`
	CreatedAt Time   `json:"created_at" doc:"When it was made."`
	UpdatedAt Time   `json:"updated_at" doc:"When it was changed last."`
	ETag      string `json:"-"` // names this version
}

// NewAdvisor is what an advisor is made with.
type NewAdvisor struct {
	Name  string `json:"name" maxLength:"200" doc:"For people: what it is called."`
	Email string `json:"email,omitempty" maxLength:"254" doc:"An email address."`
}

// Investor is a person or a company that is advised.
type Investor struct {
	ID        string `json:"id" format:"uuid" doc:"Its ID."`
	AdvisorID string `json:"advisor_id" format:"uuid" doc:"The advisor that it belongs to."`
	Type      string `json:"investor_type" enum:"person,company" doc:"Whether it is a person or a company."`
	Name      string `json:"investor_name" doc:"The name of the person or the company."`
	Email     string `json:"email,omitempty" doc:"An email address."`
	Country   string `json:"country,omitempty" doc:"ISO 3166-1, two letters." example:"CH"`
	Reference string `json:"reference,omitempty" doc:"The firm's own, for example a customer number."`
	CreatedAt Time   `json:"created_at" doc:"When it was made."`
	UpdatedAt Time   `json:"updated_at" doc:"When it was changed last."`
	DeletedAt Time   `json:"deleted_at,omitzero" doc:"When it was soft-deleted."`
	ETag      string `json:"-"` // names this version
}

// NewInvestor is what an investor is made with.
type NewInvestor struct {
	Type      string `json:"investor_type" enum:"person,company" doc:"Whether it is a person or a company."`
	Name      string `json:"investor_name" maxLength:"200" doc:"The name of the person or the company."`
	AdvisorID string `json:"advisor_id,omitempty" doc:"Whose it is; an advisor's key makes its own."`
	Email     string `json:"email,omitempty" maxLength:"254" doc:"An email address."`
	Country   string `json:"country,omitempty" doc:"ISO 3166-1, two letters." example:"CH"`
	Reference string `json:"reference,omitempty" maxLength:"100" doc:"The firm's own, for example a customer number."`
}

// AdviceSession is one session of advice to an investor.
type AdviceSession struct {
	ID         string `json:"id" format:"uuid" doc:"Its ID."`
	InvestorID string `json:"investor_id" format:"uuid" doc:"The investor that it belongs to."`
	Title      string `json:"title" doc:"At most 200 characters."`
	Objective  string `json:"objective,omitempty" doc:"What is to be reached."`

	RiskProfile string `json:"risk_profile,omitempty" enum:"conservative,moderate,balanced,growth,aggressive" doc:"Of risk."`

	HorizonYears   int    `json:"horizon_years,omitempty" doc:"For how long."`
	Recommendation string `json:"recommendation,omitempty" doc:"What is advised."`
	Status         string `json:"status" enum:"open,completed" doc:"Whether it is completed."`
	CreatedAt      Time   `json:"created_at" doc:"When it was made."`
	UpdatedAt      Time   `json:"updated_at" doc:"When it was changed last."`
	CompletedAt    Time   `json:"completed_at,omitzero" doc:"When it was completed."`
	DeletedAt      Time   `json:"deleted_at,omitzero" doc:"When it was soft-deleted by itself."`
	ETag           string `json:"-"` // names this version
}

// NewAdviceSession is what an advice session is made with.
type NewAdviceSession struct {
	Title     string `json:"title" maxLength:"200" doc:"At most 200 characters."`
	Objective string `json:"objective,omitempty" maxLength:"20000" doc:"What is to be reached."`

	RiskProfile string `json:"risk_profile,omitempty" enum:"conservative,moderate,balanced,growth,aggressive" doc:"Of risk."`

	HorizonYears   int    `json:"horizon_years,omitempty" minimum:"0" maximum:"100" doc:"For how long."`
	Recommendation string `json:"recommendation,omitempty" maxLength:"20000" doc:"What is advised."`
}

// Report is a document made from a completed advice session.
type Report struct {
	ID          string `json:"id" format:"uuid" doc:"Its ID."`
	SessionID   string `json:"advice_session_id" format:"uuid" doc:"The advice session that it is of."`
	ContentType string `json:"content_type" doc:"A media type."`
	Size        int    `json:"size" doc:"Bytes."`
	CreatedAt   Time   `json:"created_at" doc:"When it was made."`
	URL         string `json:"url" doc:"Where the document is, with the same API key."`
}

// Patch is a change of an object of the advisory platform: a JSON merge patch (RFC 7396) by property, such as
// {"investor_name": "Jane Doe"}; a nil value empties the property.
type Patch map[string]any

// Page is one page of a list; Next is empty on the last.
type Page[T any] struct {
	Items []T    `json:"items" doc:"Those of this page."`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last."`
}

// All reads every page of a list, from the first on.
func All[T any](read func(cursor string) (Page[T], error)) (list []T, err error) {
	for cursor := ""; ; {
		p, err := read(cursor)
		if list = append(list, p.Items...); err != nil || p.Next == "" {
			return list, err
		}
		cursor = p.Next
	}
}

// InvestorQuery selects investors; zero fields select all.
type InvestorQuery struct {
	AdvisorID string `query:"advisor_id" maxLength:"64" doc:"Whose they are."`
	Type      string `query:"investor_type" enum:"person,company" doc:"Whether it is a person or a company."`
	Reference string `query:"reference" maxLength:"100" doc:"The firm's own."`
	Deleted   bool   `query:"deleted" doc:"The soft-deleted ones, in place of the others."`
	Cursor    string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items."`
}

// AdviceSessionQuery selects an investor's advice sessions; zero fields select all.
type AdviceSessionQuery struct {
	Status  string `query:"status" enum:"open,completed" doc:"Whether it is completed."`
	Deleted bool   `query:"deleted" doc:"The soft-deleted ones, in place of the others."`
	Cursor  string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
	Limit   int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items."`
}

// CreateAdvisor makes an advisor. idempotencyKey, unless empty, makes a repetition do nothing new.
func (c *Client) CreateAdvisor(ctx context.Context, a NewAdvisor, idempotencyKey string) (out Advisor, err error) {
	out.ETag, err = c.create(ctx, "/v1/advisors", a, &out, idempotencyKey)
	return out, err
}

// Advisors lists advisors, a page from cursor on ("": the first).
func (c *Client) Advisors(ctx context.Context, cursor string) (out Page[Advisor], err error) {
	_, err = c.read(ctx, "/v1/advisors", Values(Paging{Cursor: cursor}), &out)
	return out, err
}

// UpdateAdvisor changes an advisor; with an etag only if it is still that version.
func (c *Client) UpdateAdvisor(ctx context.Context, id, etag string, p Patch) (out Advisor, err error) {
	out.ETag, err = c.patch(ctx, "/v1/advisors/"+url.PathEscape(id), etag, p, &out)
	return out, err
}

// DeleteAdvisor deletes an advisor who has no investors.
func (c *Client) DeleteAdvisor(ctx context.Context, id string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/advisors/" + url.PathEscape(id)})
	return err
}

// CreateInvestor makes an investor. idempotencyKey, unless empty, makes a repetition do nothing new.
func (c *Client) CreateInvestor(ctx context.Context, i NewInvestor, idempotencyKey string) (out Investor, err error) {
	out.ETag, err = c.create(ctx, "/v1/investors", i, &out, idempotencyKey)
	return out, err
}

// Investors lists investors.
func (c *Client) Investors(ctx context.Context, q InvestorQuery) (out Page[Investor], err error) {
	_, err = c.read(ctx, "/v1/investors", Values(q), &out)
	return out, err
}

// Investor reads an investor that is not soft-deleted.
func (c *Client) Investor(ctx context.Context, id string) (out Investor, err error) {
	out.ETag, err = c.read(ctx, investorPath(id), nil, &out)
	return out, err
}

// UpdateInvestor changes an investor; with an etag only if it is still that version.
func (c *Client) UpdateInvestor(ctx context.Context, id, etag string, p Patch) (out Investor, err error) {
	out.ETag, err = c.patch(ctx, investorPath(id), etag, p, &out)
	return out, err
}

// DeleteInvestor soft-deletes an investor, or deletes it permanently, with its advice sessions.
func (c *Client) DeleteInvestor(ctx context.Context, id string, permanent bool) error {
	return c.remove(ctx, investorPath(id), permanent)
}

// RestoreInvestor restores a soft-deleted investor.
func (c *Client) RestoreInvestor(ctx context.Context, id string) (out Investor, err error) {
	out.ETag, err = c.create(ctx, investorPath(id)+"/restore", nil, &out, "")
	return out, err
}

// CreateAdviceSession makes an advice session of an investor. idempotencyKey, unless empty, makes a repetition do
// nothing new.
func (c *Client) CreateAdviceSession(ctx context.Context, investor string, s NewAdviceSession, idempotencyKey string) (
	out AdviceSession, err error) {
	out.ETag, err = c.create(ctx, investorPath(investor)+"/advice-sessions", s, &out, idempotencyKey)
	return out, err
}

// AdviceSessions lists an investor's advice sessions.
func (c *Client) AdviceSessions(ctx context.Context, investor string, q AdviceSessionQuery) (
	out Page[AdviceSession], err error) {
	path := investorPath(investor) + "/advice-sessions"
	_, err = c.read(ctx, path, Values(q), &out)
	return out, err
}

// AdviceSession reads an advice session that is not soft-deleted.
func (c *Client) AdviceSession(ctx context.Context, id string) (out AdviceSession, err error) {
	out.ETag, err = c.read(ctx, sessionPath(id), nil, &out)
	return out, err
}

// UpdateAdviceSession fills in an advice session; with an etag only if it is still that version.
func (c *Client) UpdateAdviceSession(ctx context.Context, id, etag string, p Patch) (out AdviceSession, err error) {
	out.ETag, err = c.patch(ctx, sessionPath(id), etag, p, &out)
	return out, err
}

// CompleteAdviceSession completes an advice session; then it cannot change any more.
func (c *Client) CompleteAdviceSession(ctx context.Context, id string) (out AdviceSession, err error) {
	out.ETag, err = c.create(ctx, sessionPath(id)+"/complete", nil, &out, "")
	return out, err
}

// DeleteAdviceSession soft-deletes an advice session, or deletes it permanently, with its reports.
func (c *Client) DeleteAdviceSession(ctx context.Context, id string, permanent bool) error {
	return c.remove(ctx, sessionPath(id), permanent)
}

// RestoreAdviceSession restores a soft-deleted advice session.
func (c *Client) RestoreAdviceSession(ctx context.Context, id string) (out AdviceSession, err error) {
	out.ETag, err = c.create(ctx, sessionPath(id)+"/restore", nil, &out, "")
	return out, err
}

// CreateReport makes a report of a completed advice session. idempotencyKey, unless empty, makes a repetition do
// nothing new.
func (c *Client) CreateReport(ctx context.Context, session, idempotencyKey string) (out Report, err error) {
	_, err = c.create(ctx, sessionPath(session)+"/reports", nil, &out, idempotencyKey)
	return out, err
}

// Reports lists the reports of an advice session, a page from cursor on ("": the first).
func (c *Client) Reports(ctx context.Context, session, cursor string) (out Page[Report], err error) {
	_, err = c.read(ctx, sessionPath(session)+"/reports", Values(Paging{Cursor: cursor}), &out)
	return out, err
}

// Report downloads a report.
func (c *Client) Report(ctx context.Context, session, id string) (content []byte, err error) {
	path := sessionPath(session) + "/reports/" + url.PathEscape(id)
	_, err = c.do(ctx, request{method: http.MethodGet, path: path, raw: &content})
	return content, err
}

// create, patch and read make the calls about an object; what they return is its ETag.
func (c *Client) create(ctx context.Context, path string, in, out any, once string) (etag string, err error) {
	h, err := c.do(ctx, request{method: http.MethodPost, path: path, in: in, out: out, once: once})
	return h.Get("ETag"), err
}

func (c *Client) patch(ctx context.Context, path, ifMatch string, in, out any) (etag string, err error) {
	h, err := c.do(ctx, request{method: http.MethodPatch, path: path, ifMatch: ifMatch, in: in, out: out})
	return h.Get("ETag"), err
}

func (c *Client) read(ctx context.Context, path string, query url.Values, out any) (etag string, err error) {
	h, err := c.do(ctx, request{method: http.MethodGet, path: path, query: query, out: out})
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
