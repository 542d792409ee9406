package advisory

import (
	"context"
	"fmt"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// ContentType is the media type of reports.
const ContentType = "application/pdf"

// CreateReport makes a PDF of a completed advice session and keeps it. It triggers qap.investor.advice.report.created.
// Errors: store.ErrNotFound for the session, *Error.
func (s *Service) CreateReport(ctx context.Context, who Actor, session string, once Once) (store.Report, error) {
	var r store.Report
	repeated, err := s.do(ctx, who, once, func() string { return r.ID }, func() (*store.Change, []event.Event, error) {
		x, i, err := s.open(ctx, who, session, nil)
		if err != nil {
			return nil, nil, err
		}
		if !x.Completed() {
			return nil, nil, errNotCompleted
		}
		if r, err = s.report(ctx, &x, &i); err != nil {
			return nil, nil, err
		}
		c := &store.Change{Expect: append(expect(store.KindSession, &x.Object), expect(store.KindInvestor, &i.Object)...), Report: &r}
		return c, []event.Event{s.sessionEvent(reportCreated, who, &x, reportData{r.ID, ContentType})}, nil
	})
	if repeated != "" {
		return s.Report(ctx, who, session, repeated)
	}
	return r, err
}

func (s *Service) report(ctx context.Context, x *store.AdviceSession, i *store.Investor) (r store.Report, err error) {
	firm, err := s.store.TenantByID(ctx, x.Tenant)
	if err != nil {
		return r, err
	}
	a, err := s.store.AdvisorByID(ctx, x.Tenant, i.AdvisorID)
	if err != nil {
		return r, err
	}
	if r.Object, err = s.fresh(x.Tenant); err != nil {
		return r, err
	}
	d := document{
		ReportID: r.ID, Firm: firm.Name, Advisor: a.Name, InvestorType: i.Type, Investor: i.Name, Title: x.Title,
		SessionID: x.ID, Objective: x.Objective, Recommendation: x.Recommendation, RiskProfile: x.RiskProfile,
		HorizonYears: x.HorizonYears, CompletedAt: x.CompletedAt, CreatedAt: r.CreatedAt,
	}
	if r.Content, err = d.writePDF(); err != nil {
		return r, fmt.Errorf("write the report of advice session %s: %w", x.ID, err)
	}
	r.SessionID, r.Size = x.ID, len(r.Content)
	return r, nil
}

// Report finds a report with its content. Errors: store.ErrNotFound.
func (s *Service) Report(ctx context.Context, who Actor, session, id string) (store.Report, error) {
	if _, err := s.Session(ctx, who, session, store.Present); err != nil {
		return store.Report{}, err
	}
	return s.store.ReportByID(ctx, who.Tenant, session, id)
}

// Reports lists the reports of an advice session, without their content. Errors: store.ErrNotFound for the session.
func (s *Service) Reports(ctx context.Context, who Actor, session string, after int64, limit int) (
	[]store.Report, error) {
	if _, err := s.Session(ctx, who, session, store.Present); err != nil {
		return nil, err
	}
	return s.store.ListReports(ctx, who.Tenant, session, after, limit)
}
