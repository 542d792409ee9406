package api

import (
	"context"

	"github.com/quantfolio/qhook/client"
)

// object is the object of an answer; tag is where its version goes.
func gotObject[T any](out *objectOutput[T], err error, tag func(*T) *string) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	*tag(&out.Body) = out.ETag
	return out.Body, nil
}

func gotAdvisor(out *objectOutput[client.Advisor], err error) (client.Advisor, error) {
	return gotObject(out, err, func(x *client.Advisor) *string { return &x.ETag })
}

func gotInvestor(out *objectOutput[client.Investor], err error) (client.Investor, error) {
	return gotObject(out, err, func(x *client.Investor) *string { return &x.ETag })
}

func gotSession(out *objectOutput[client.AdviceSession], err error) (client.AdviceSession, error) {
	return gotObject(out, err, func(x *client.AdviceSession) *string { return &x.ETag })
}

func (s *session) CreateAdvisor(ctx context.Context, x client.NewAdvisor, once string) (client.Advisor, error) {
	raw, err := body(x)
	if err != nil {
		return client.Advisor{}, err
	}
	in := &createInput{Idempotency: Idempotency{once}, RawBody: raw}
	return gotAdvisor(call(ctx, s, "create-advisor", s.a.createAdvisor, in))
}

func (s *session) Advisors(ctx context.Context, cursor string) (client.Page[client.Advisor], error) {
	return got(call(ctx, s, "list-advisors", s.a.listAdvisors, &pageInput{Paging: client.Paging{Cursor: cursor}}))
}

func (s *session) UpdateAdvisor(ctx context.Context, id, etag string, p client.Patch) (client.Advisor, error) {
	raw, err := body(p)
	if err != nil {
		return client.Advisor{}, err
	}
	in := &patchInput{IfMatch: IfMatch{etag}, ID: id, RawBody: raw}
	return gotAdvisor(call(ctx, s, "update-advisor", s.a.updateAdvisor, in))
}

func (s *session) DeleteAdvisor(ctx context.Context, id string) error {
	_, err := call(ctx, s, "delete-advisor", s.a.deleteAdvisor, &deleteInput{ID: id})
	return err
}

func (s *session) CreateInvestor(ctx context.Context, x client.NewInvestor, once string) (client.Investor, error) {
	raw, err := body(x)
	if err != nil {
		return client.Investor{}, err
	}
	in := &createInput{Idempotency: Idempotency{once}, RawBody: raw}
	return gotInvestor(call(ctx, s, "create-investor", s.a.createInvestor, in))
}

func (s *session) Investors(ctx context.Context, q client.InvestorQuery) (client.Page[client.Investor], error) {
	return got(call(ctx, s, "list-investors", s.a.listInvestors, &listInvestorsInput{InvestorQuery: q}))
}

func (s *session) Investor(ctx context.Context, id string) (client.Investor, error) {
	return gotInvestor(call(ctx, s, "get-investor", s.a.getInvestor, &readInput{ID: id}))
}

func (s *session) UpdateInvestor(ctx context.Context, id, etag string, p client.Patch) (client.Investor, error) {
	raw, err := body(p)
	if err != nil {
		return client.Investor{}, err
	}
	in := &patchInput{IfMatch: IfMatch{etag}, ID: id, RawBody: raw}
	return gotInvestor(call(ctx, s, "update-investor", s.a.updateInvestor, in))
}

func (s *session) DeleteInvestor(ctx context.Context, id string, permanent bool) error {
	_, err := call(ctx, s, "delete-investor", s.a.deleteInvestor, &removeInput{ID: id, Permanent: permanent})
	return err
}

func (s *session) RestoreInvestor(ctx context.Context, id string) (client.Investor, error) {
	return gotInvestor(call(ctx, s, "restore-investor", s.a.restoreInvestor, &actInput{ID: id}))
}

func (s *session) CreateAdviceSession(ctx context.Context, investor string, x client.NewAdviceSession, once string) (
	client.AdviceSession, error) {
	raw, err := body(x)
	if err != nil {
		return client.AdviceSession{}, err
	}
	in := &createInInput{Idempotency: Idempotency{once}, ID: investor, RawBody: raw}
	return gotSession(call(ctx, s, "create-advice-session", s.a.createSession, in))
}

func (s *session) AdviceSessions(ctx context.Context, investor string, q client.AdviceSessionQuery) (
	client.Page[client.AdviceSession], error) {
	in := &listSessionsInput{AdviceSessionQuery: q, ID: investor}
	return got(call(ctx, s, "list-advice-sessions", s.a.listSessions, in))
}

func (s *session) AdviceSession(ctx context.Context, id string) (client.AdviceSession, error) {
	return gotSession(call(ctx, s, "get-advice-session", s.a.getSession, &readInput{ID: id}))
}

func (s *session) UpdateAdviceSession(ctx context.Context, id, etag string, p client.Patch) (
	client.AdviceSession, error) {
	raw, err := body(p)
	if err != nil {
		return client.AdviceSession{}, err
	}
	in := &patchInput{IfMatch: IfMatch{etag}, ID: id, RawBody: raw}
	return gotSession(call(ctx, s, "update-advice-session", s.a.updateSession, in))
}

func (s *session) CompleteAdviceSession(ctx context.Context, id string) (client.AdviceSession, error) {
	return gotSession(call(ctx, s, "complete-advice-session", s.a.completeSession, &actInput{ID: id}))
}

func (s *session) DeleteAdviceSession(ctx context.Context, id string, permanent bool) error {
	_, err := call(ctx, s, "delete-advice-session", s.a.deleteSession, &removeInput{ID: id, Permanent: permanent})
	return err
}

func (s *session) RestoreAdviceSession(ctx context.Context, id string) (client.AdviceSession, error) {
	return gotSession(call(ctx, s, "restore-advice-session", s.a.restoreSession, &actInput{ID: id}))
}

func (s *session) CreateReport(ctx context.Context, session, once string) (client.Report, error) {
	in := &createReportInput{Idempotency: Idempotency{once}, ID: session}
	out, err := call(ctx, s, "create-report", s.a.createReport, in)
	if err != nil {
		return client.Report{}, err
	}
	return out.Body, nil
}

func (s *session) Reports(ctx context.Context, session, cursor string) (client.Page[client.Report], error) {
	in := &listReportsInput{Paging: client.Paging{Cursor: cursor}, ID: session}
	return got(call(ctx, s, "list-reports", s.a.listReports, in))
}

func (s *session) Report(ctx context.Context, session, id string) ([]byte, error) {
	out, err := call(ctx, s, "get-report", s.a.getReport, &readReportInput{ID: session, Report: id})
	if err != nil {
		return nil, err
	}
	return out.Body, nil
}
