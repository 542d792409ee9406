package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/quantfolio/qhook/client"
)

func TestAdvisoryCalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer string
		call   func(*client.Client) (any, error)
		want   string // method, target, If-Match, Idempotency-Key, body
		result string // %v of what the call returned
	}{
		{"CreateAdvisor", `{"id":"a1"}`, func(c *client.Client) (any, error) {
			x, err := c.CreateAdvisor(t.Context(), client.NewAdvisor{Name: "Ann"}, "k 1")
			return x.ID + x.ETag, err
		}, `POST /v1/advisors [] [k 1] {"name":"Ann"}`, `a1"3"`},
		{"Advisors", `{"items":[{"id":"a1"}],"next":"c2"}`, func(c *client.Client) (any, error) {
			p, err := c.Advisors(t.Context(), "c&1")
			return p.Items[0].ID + p.Next, err
		}, `GET /v1/advisors?cursor=c%261 [] [] `, "a1c2"},
		{"UpdateAdvisor", `{"id":"a1"}`, func(c *client.Client) (any, error) {
			x, err := c.UpdateAdvisor(t.Context(), "a/1", `"2"`, client.Patch{"email": nil})
			return x.ETag, err
		}, `PATCH /v1/advisors/a%2F1 ["2"] [] {"email":null}`, `"3"`},
		{"DeleteAdvisor", ``, func(c *client.Client) (any, error) { return nil, c.DeleteAdvisor(t.Context(), "a?1") },
			`DELETE /v1/advisors/a%3F1 [] [] `, "<nil>"},
		{"CreateInvestor", `{"id":"i1","created_at":"2026-01-02T03:04:05.000Z"}`, func(c *client.Client) (any, error) {
			x, err := c.CreateInvestor(t.Context(),
				client.NewInvestor{Type: "person", Name: "<Jane>", Reference: "r"}, "k")
			return fmt.Sprint(x.ID, x.ETag, x.CreatedAt.Year(), x.DeletedAt.IsZero()), err
		}, `POST /v1/investors [] [k] {"investor_type":"person","investor_name":"<Jane>","reference":"r"}`, `i1"3"2026 true`},
		{"Investors", `{"items":[{"id":"i1"},{"id":"i2"}]}`, func(c *client.Client) (any, error) {
			p, err := c.Investors(t.Context(),
				client.InvestorQuery{AdvisorID: "a", Type: "company", Reference: "C 1", Deleted: true,
					Cursor: "c", Limit: 7})
			return fmt.Sprint(len(p.Items), p.Next), err
		}, `GET /v1/investors?advisor_id=a&cursor=c&deleted=true&investor_type=company&limit=7&reference=C+1 [] [] `, "2"},
		{"Investors, all", `{"items":[]}`, func(c *client.Client) (any, error) {
			p, err := c.Investors(t.Context(), client.InvestorQuery{})
			return len(p.Items), err
		}, `GET /v1/investors [] [] `, "0"},
		{"Investor", `{"id":"i1","deleted_at":"2026-01-02T03:04:05Z"}`, func(c *client.Client) (any, error) {
			x, err := c.Investor(t.Context(), "i 1")
			return fmt.Sprint(x.ETag, x.DeletedAt.Year()), err
		}, `GET /v1/investors/i%201 [] [] `, `"3"2026`},
		{"UpdateInvestor", `{"id":"i1"}`, func(c *client.Client) (any, error) {
			x, err := c.UpdateInvestor(t.Context(), "i1", "", client.Patch{"investor_name": "J"})
			return x.ID + x.ETag, err
		}, `PATCH /v1/investors/i1 [] [] {"investor_name":"J"}`, `i1"3"`},
		{"DeleteInvestor", ``, func(c *client.Client) (any, error) { return nil, c.DeleteInvestor(t.Context(), "../i", false) },
			`DELETE /v1/investors/..%2Fi [] [] `, "<nil>"},
		{"DeleteInvestor, permanently", ``,
			func(c *client.Client) (any, error) { return nil, c.DeleteInvestor(t.Context(), "i1", true) },
			`DELETE /v1/investors/i1?permanent=true [] [] `, "<nil>"},
		{"RestoreInvestor", `{"id":"i1"}`, func(c *client.Client) (any, error) {
			x, err := c.RestoreInvestor(t.Context(), "i/1")
			return x.ID + x.ETag, err
		}, `POST /v1/investors/i%2F1/restore [] [] `, `i1"3"`},
		{"CreateAdviceSession", `{"id":"s1","status":"open"}`, func(c *client.Client) (any, error) {
			x, err := c.CreateAdviceSession(t.Context(), "i/1",
				client.NewAdviceSession{Title: "t", RiskProfile: "growth", HorizonYears: 5}, "k")
			return x.Status + x.ETag, err
		}, `POST /v1/investors/i%2F1/advice-sessions [] [k] {"title":"t","risk_profile":"growth","horizon_years":5}`, `open"3"`},
		{"AdviceSessions", `{"items":[{"id":"s1"}],"next":"c2"}`, func(c *client.Client) (any, error) {
			p, err := c.AdviceSessions(t.Context(), "i/1", client.AdviceSessionQuery{Deleted: true, Cursor: "c1"})
			return p.Items[0].ID + p.Next, err
		}, `GET /v1/investors/i%2F1/advice-sessions?cursor=c1&deleted=true [] [] `, "s1c2"},
		{"AdviceSession", `{"id":"s1","horizon_years":5}`, func(c *client.Client) (any, error) {
			x, err := c.AdviceSession(t.Context(), "s/1")
			return fmt.Sprint(x.HorizonYears, x.ETag), err
		}, `GET /v1/advice-sessions/s%2F1 [] [] `, `5"3"`},
		{"UpdateAdviceSession", `{"id":"s1"}`, func(c *client.Client) (any, error) {
			x, err := c.UpdateAdviceSession(t.Context(), "s1", `"2"`, client.Patch{"horizon_years": 7})
			return x.ID + x.ETag, err
		}, `PATCH /v1/advice-sessions/s1 ["2"] [] {"horizon_years":7}`, `s1"3"`},
		{"CompleteAdviceSession", `{"status":"completed"}`, func(c *client.Client) (any, error) {
			x, err := c.CompleteAdviceSession(t.Context(), "s/1")
			return x.Status + x.ETag, err
		}, `POST /v1/advice-sessions/s%2F1/complete [] [] `, `completed"3"`},
		{"DeleteAdviceSession", ``, func(c *client.Client) (any, error) { return nil, c.DeleteAdviceSession(t.Context(), "s/1", true) },
			`DELETE /v1/advice-sessions/s%2F1?permanent=true [] [] `, "<nil>"},
		{"RestoreAdviceSession", `{"id":"s1"}`, func(c *client.Client) (any, error) {
			x, err := c.RestoreAdviceSession(t.Context(), "s1")
			return x.ID + x.ETag, err
		}, `POST /v1/advice-sessions/s1/restore [] [] `, `s1"3"`},
		{"CreateReport", `{"id":"r1","size":12,"url":"/v1/x"}`, func(c *client.Client) (any, error) {
			x, err := c.CreateReport(t.Context(), "s/1", "k")
			return fmt.Sprint(x.ID, x.Size, x.URL), err
		}, `POST /v1/advice-sessions/s%2F1/reports [] [k] `, "r112/v1/x"},
		{"Reports", `{"items":[{"id":"r1"}],"next":"c2"}`, func(c *client.Client) (any, error) {
			p, err := c.Reports(t.Context(), "s1", "c1")
			return p.Items[0].ID + p.Next, err
		}, `GET /v1/advice-sessions/s1/reports?cursor=c1 [] [] `, "r1c2"},
		{"Report", "%PDF-1.4\n\x00\xff", func(c *client.Client) (any, error) {
			b, err := c.Report(t.Context(), "s/1", "r/1")
			return string(b), err
		}, `GET /v1/advice-sessions/s%2F1/reports/r%2F1 [] [] `, "%PDF-1.4\n\x00\xff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got, kind string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				got = fmt.Sprint(r.Method, " ", r.URL.RequestURI(), " ", r.Header["If-Match"], " ",
					r.Header["Idempotency-Key"], " ", string(b))
				kind = r.Header.Get("Content-Type")
				w.Header().Set("ETag", `"3"`)
				_, _ = io.WriteString(w, tt.answer)
			}))
			defer s.Close()
			result, err := tt.call(client.New(s.URL, "the-key"))
			if err != nil {
				t.Fatalf("%s = %v, want nil", tt.name, err)
			}
			if got != tt.want {
				t.Errorf("%s sends %s, want %s", tt.name, got, tt.want)
			}
			if patch := got[:5] == http.MethodPatch; patch != (kind == "application/merge-patch+json") {
				t.Errorf("%s sends Content-Type %q", tt.name, kind)
			}
			if s := fmt.Sprint(result); s != tt.result {
				t.Errorf("%s = %q, want %q", tt.name, s, tt.result)
			}
		})
	}
}

func TestRule(t *testing.T) {
	t.Parallel()
	c, _ := server(t, http.StatusConflict, "application/problem+json",
		`{"title":"Conflict","status":409,"detail":"It is soft-deleted. Restore it first.","rule":"deleted"}`)
	for name, call := range map[string]func() error{
		"UpdateInvestor": func() error {
			_,
				err := c.UpdateInvestor(t.Context(), "i1", "", client.Patch{})
			return err
		},
		"DeleteInvestor": func() error { return c.DeleteInvestor(t.Context(), "i1", false) },
		"CreateReport":   func() error { _, err := c.CreateReport(t.Context(), "s1", ""); return err },
		"Report":         func() error { _, err := c.Report(t.Context(), "s1", "r1"); return err },
		"Investors":      func() error { _, err := c.Investors(t.Context(), client.InvestorQuery{}); return err },
	} {
		err := call()
		var p *client.Problem
		if !errors.As(err, &p) || p.Rule != "deleted" || !client.IsStatus(err, http.StatusConflict) ||
			err.Error() != "409 It is soft-deleted. Restore it first." {
			t.Errorf("%s = %v, want a *Problem of status 409 with the rule deleted", name, err)
		}
	}
}
