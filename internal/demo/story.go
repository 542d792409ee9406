package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/quantfolio/qhook/client"
)

// actor acts through the API with a key of its own. Its ID is the owner of the events that it triggers.
type actor struct {
	*client.Client
	id, name, role string
}

// Story is a firm with two advisors, and the receiver of its webhooks.
type Story struct {
	rec            *Receiver
	firm, ada, ben actor
	adminKey       string
	john           client.Investor // is there at the end
}

// step is one change: who does what, and the events that it must trigger, known from what the API answers. Their
// OwnerID and cause are filled in by play.
type step struct {
	who  actor
	does string
	do   func() ([]expectation, error)
}

// Found makes the firm and its advisors, each with an API key. That triggers no events.
func Found(ctx context.Context, url, operatorKey string, rec *Receiver) (*Story, error) {
	with := func(key string) *client.Client { return client.New(url, key, client.WithUserAgent("qhook-demo")) }
	operator := with(operatorKey)
	firm, err := operator.CreateTenant(ctx, client.NewTenant{ID: "fjord-wealth", Name: "Fjord Wealth"})
	if err != nil {
		return nil, fmt.Errorf("make the firm: %w", err)
	}
	admin, err := operator.CreateAPIKey(ctx, client.NewAPIKey{Tenant: firm.ID, Role: client.RoleAdmin})
	if err != nil {
		return nil, fmt.Errorf("make the firm's API key: %w", err)
	}
	s := &Story{
		rec: rec, adminKey: admin.Key, firm: actor{with(admin.Key), firm.ID, firm.Name, "firm"},
		ada: actor{name: "Ada Adler", role: "advisor"}, ben: actor{name: "Ben Berg", role: "advisor"},
	}
	rec.names[firm.ID] = firm.Name
	fmt.Fprintf(rec.out, "The firm %s (ID %s) and its advisors, each with an API key of their own:\n",
		firm.Name, firm.ID)
	for _, who := range []*actor{&s.ada, &s.ben} {
		a, err := s.firm.CreateAdvisor(ctx, client.NewAdvisor{Name: who.name}, "")
		if err != nil {
			return nil, fmt.Errorf("make the advisor %s: %w", who.name, err)
		}
		key, err := s.firm.CreateAPIKey(ctx, client.NewAPIKey{Role: client.RoleAdvisor, AdvisorID: a.ID})
		if err != nil {
			return nil, fmt.Errorf("make the API key of %s: %w", who.name, err)
		}
		who.Client, who.id = with(key.Key), a.ID
		rec.names[a.ID] = a.Name
		fmt.Fprintf(rec.out, "    %-10s %s\n", a.Name, a.ID)
	}
	fmt.Fprintln(rec.out)
	return s, nil
}

// play does the steps, one after the events of the other. It stops early when some do not arrive in time.
func (s *Story) play(ctx context.Context) error {
	fmt.Fprintf(s.rec.out, "\nWhat they do, and every request that arrives at the receiver, the first POST and the first GET in full:\n")
	for _, step := range s.steps(ctx) {
		fmt.Fprintf(s.rec.out, "\n%s (%s) %s.\n", step.who.name, step.who.role, step.does)
		// The receiver waits for the API's answer, so that it prints after it, with the names of new objects.
		s.rec.mu.Lock()
		events, err := step.do()
		for _, e := range events {
			e.OwnerID, e.cause = step.who.id, step.who.name+" "+step.does
			s.rec.expect(e)
		}
		s.rec.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%s %s: %w", step.who.name, step.does, err)
		}
		if len(events) == 0 {
			fmt.Fprintf(s.rec.out, "    This triggers no event.\n")
		}
		if !s.rec.await(ctx) {
			fmt.Fprintf(s.rec.out, "    Not all of its events arrived within %v. The story ends here; the summary says what is missing.\n", stepTime)
			return nil
		}
	}
	return nil
}

func (s *Story) steps(ctx context.Context) []step {
	var jane, northwind client.Investor
	var plan, pension, cash client.AdviceSession
	john := &s.john
	return []step{
		{s.ada, "creates investor John Doe, a person", func() (_ []expectation, err error) {
			*john, err = s.ada.CreateInvestor(ctx, client.NewInvestor{Type: "person", Name: "John Doe"}, "")
			return createdInvestor(*john), err
		}},
		{s.ben, "creates investor Northwind Ltd, a company", func() (_ []expectation, err error) {
			northwind, err = s.ben.CreateInvestor(ctx, client.NewInvestor{Type: "company", Name: "Northwind Ltd"}, "")
			return createdInvestor(northwind), err
		}},
		{s.firm, "creates investor Jane Roe, a person, for Ben Berg", func() (_ []expectation, err error) {
			jane, err = s.firm.CreateInvestor(ctx,
				client.NewInvestor{AdvisorID: s.ben.id, Type: "person", Name: "Jane Roe"}, "")
			return createdInvestor(jane), err
		}},
		{s.ada, "changes John Doe's email and country", func() (_ []expectation, err error) {
			*john, err = s.ada.UpdateInvestor(ctx, john.ID, john.ETag,
				client.Patch{"email": "john@example.com", "country": "NO"})
			return updatedInvestor(*john, "email", "country"), err
		}},
		{s.ada, "creates advice session Retirement plan with John Doe", func() (_ []expectation, err error) {
			plan, err = s.ada.CreateAdviceSession(ctx, john.ID, client.NewAdviceSession{Title: "Retirement plan"}, "")
			return titledSession("created", plan), err
		}},
		{s.ada, "fills in Retirement plan", func() (_ []expectation, err error) {
			plan, err = s.ada.UpdateAdviceSession(ctx, plan.ID, plan.ETag, client.Patch{"objective": "To retire at 60.",
				"risk_profile": "balanced", "horizon_years": 15, "recommendation": "Half in stocks, half in bonds."})
			return nil, err
		}},
		{s.ada, "completes Retirement plan", func() (_ []expectation, err error) {
			plan, err = s.ada.CompleteAdviceSession(ctx, plan.ID)
			return titledSession("completed", plan), err
		}},
		{s.ada, "makes a report of Retirement plan and downloads it", func() ([]expectation, error) {
			report, err := s.ada.CreateReport(ctx, plan.ID, "")
			if err != nil {
				return nil, err
			}
			pdf, err := s.ada.Report(ctx, plan.ID, report.ID)
			if err == nil && !bytes.HasPrefix(pdf, []byte("%PDF-")) {
				err = errors.New("the report is no PDF")
			}
			return []expectation{sessionEvent("report.created", plan,
				content{"report_id": report.ID, "content_type": "application/pdf"})}, err
		}},
		{s.ada, "soft-deletes Retirement plan", func() ([]expectation, error) {
			return []expectation{sessionEvent("soft_deleted", plan, nil)}, s.ada.DeleteAdviceSession(ctx,
				plan.ID, false)
		}},
		{s.ada, "restores Retirement plan, which updates John Doe", func() (_ []expectation, err error) {
			plan, err = s.ada.RestoreAdviceSession(ctx, plan.ID)
			return []expectation{investorEvent("updated", *john,
				content{"changed": []string{"advice_sessions"}, "advice_session_id": plan.ID})}, err
		}},
		{s.ada, "permanently deletes Retirement plan and its report", func() ([]expectation, error) {
			return []expectation{sessionEvent("deleted", plan, nil)}, s.ada.DeleteAdviceSession(ctx, plan.ID, true)
		}},
		{s.ben, "creates advice session Pension fund with Northwind Ltd", func() (_ []expectation, err error) {
			pension, err = s.ben.CreateAdviceSession(ctx, northwind.ID,
				client.NewAdviceSession{Title: "Pension fund"}, "")
			return titledSession("created", pension), err
		}},
		{s.ben, "creates advice session Cash reserve with Northwind Ltd", func() (_ []expectation, err error) {
			cash, err = s.ben.CreateAdviceSession(ctx, northwind.ID, client.NewAdviceSession{Title: "Cash reserve"}, "")
			return titledSession("created", cash), err
		}},
		{s.ben, "soft-deletes Northwind Ltd", func() ([]expectation, error) {
			return []expectation{investorEvent("soft_deleted", northwind, nil)}, s.ben.DeleteInvestor(ctx,
				northwind.ID, false)
		}},
		{s.ben, "restores Northwind Ltd", func() (_ []expectation, err error) {
			northwind, err = s.ben.RestoreInvestor(ctx, northwind.ID)
			return updatedInvestor(northwind, "deleted_at"), err
		}},
		{s.firm, "gives Northwind Ltd to Ada Adler", func() (_ []expectation, err error) {
			northwind, err = s.firm.UpdateInvestor(ctx, northwind.ID, northwind.ETag,
				client.Patch{"advisor_id": s.ada.id})
			return updatedInvestor(northwind, "advisor_id"), err
		}},
		{s.firm, "permanently deletes Northwind Ltd and its sessions", func() ([]expectation, error) {
			return []expectation{sessionEvent("deleted", pension, nil), sessionEvent("deleted", cash, nil),
				investorEvent("deleted", northwind, nil)}, s.firm.DeleteInvestor(ctx, northwind.ID, true)
		}},
	}
}

type content map[string]any

func investorEvent(kind string, i client.Investor, data content) expectation {
	return expectation{facts: facts{"qap.investor." + kind, i.ID, i.AdvisorID, "", data.text()}, name: i.Name}
}

func sessionEvent(kind string, x client.AdviceSession, data content) expectation {
	return expectation{facts: facts{"qap.investor.advice." + kind, x.ID, x.InvestorID, "", data.text()}, name: x.Title}
}

func createdInvestor(i client.Investor) []expectation {
	return []expectation{investorEvent("created", i, content{"investor_type": i.Type, "investor_name": i.Name})}
}

func updatedInvestor(i client.Investor, changed ...string) []expectation {
	return []expectation{investorEvent("updated", i, content{"changed": changed})}
}

func titledSession(kind string, x client.AdviceSession) []expectation {
	return []expectation{sessionEvent(kind, x, content{"title": x.Title})}
}

func (s *Story) PrintNext(url string) {
	fmt.Fprintf(s.rec.out, `
It stays up; Ctrl-C ends it and removes its data. What to try next, in another terminal, as %[5]s:

    export QHOOK_URL=%[1]s QHOOK_KEY=%[2]s
    AUTH="Authorization: Bearer $QHOOK_KEY"
    curl -s -H "$AUTH" $QHOOK_URL/v1/investors
    curl -s -H "$AUTH" $QHOOK_URL/v1/investors \
      --json '{"advisor_id":"%[3]s","investor_type":"person","investor_name":"Max Moe"}'
    curl -s -H "$AUTH" $QHOOK_URL/v1/investors/%[4]s -X PATCH \
      -H 'Content-Type: application/merge-patch+json' -d '{"investor_name":"John X. Doe"}'
    curl -s -H "$AUTH" $QHOOK_URL/v1/investors/%[4]s/advice-sessions \
      --json '{"title":"Second opinion"}'
    curl -s -H "$AUTH" $QHOOK_URL/v1/investors/%[4]s -X DELETE

    curl -s -H "$AUTH" $QHOOK_URL/v1/deliveries
    curl -s -H "$AUTH" $QHOOK_URL/v1/events \
      --json '{"type":"qap.investor.created","object_id":"inv-1","object_owner_id":"adv-1","owner_id":"adv-1",
      "data":{"investor_name":"Jane Doe"}}'
    qhook trigger qap.investor.advice.completed
    qhook listen --port 9000        and register http://127.0.0.1:9000/ as a webhook:
    curl -s -H "$AUTH" $QHOOK_URL/v1/webhooks \
      --json '{"url":"http://127.0.0.1:9000/","method":"POST","event_types":["**"],"generate_signing_key":true}'

`, url, s.adminKey, s.ada.id, s.john.ID, s.firm.name)
}
