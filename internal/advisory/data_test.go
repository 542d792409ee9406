package advisory_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// dataKeys are all properties that the data of each type carries, always.
var dataKeys = map[string][]string{
	"qap.investor.advice.created":        {"title"},
	"qap.investor.advice.soft_deleted":   {},
	"qap.investor.advice.deleted":        {},
	"qap.investor.advice.completed":      {"title"},
	"qap.investor.advice.report.created": {"content_type", "report_id"},
	"qap.investor.created":               {"investor_name", "investor_type"},
	"qap.investor.updated":               {"changed"},
	"qap.investor.soft_deleted":          {},
	"qap.investor.deleted":               {},
}

// TestEventData triggers every type, as the firm and as an advisor, and wants that data holds to the catalogue's schema
// and says nothing of what people own, want and are advised.
func TestEventData(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	for _, who := range []advisory.Actor{o.firm, o.ann} {
		var i store.Investor
		var x store.AdviceSession
		triggered := o.news(func() {
			i = must(o.CreateInvestor(ctx, who,
				store.Investor{AdvisorID: o.ann.Advisor, Type: "company", Name: `<Doe> & "Söhne"`,
					Email: "secret@example.com", Country: "CH", Reference: "secret-1"}, advisory.Once{}))(t)
			must(o.UpdateInvestor(ctx, who, i.ID, nil, func(i *store.Investor) error {
				i.Type, i.Name, i.Email, i.Country, i.Reference = "person", "secret name", "secret2@example.com", "DE", "secret-2"
				return nil
			}))(t)
			x = must(o.CreateSession(ctx, who, i.ID, store.AdviceSession{Title: "Plan"}, advisory.Once{}))(t)
			must(o.UpdateSession(ctx, who, x.ID, nil, func(x *store.AdviceSession) error {
				x.Objective, x.Recommendation, x.RiskProfile, x.HorizonYears = "secret", "secret", "growth", 12
				return nil
			}))(t)
			must(o.CompleteSession(ctx, who, x.ID, nil, advisory.Once{}))(t)
			must(o.CreateReport(ctx, who, x.ID, advisory.Once{}))(t)
			o.ok(o.SoftDeleteSession(ctx, who, x.ID, nil))
			must(o.RestoreSession(ctx, who, x.ID, nil, advisory.Once{}))(t)
			o.ok(o.SoftDeleteInvestor(ctx, who, i.ID, nil))
			must(o.RestoreInvestor(ctx, who, i.ID, nil, advisory.Once{}))(t)
			o.ok(o.DeleteInvestor(ctx, who, i.ID, nil))
		})
		reached := map[string]bool{}
		for _, e := range triggered {
			reached[e.Type] = true
			typ, ok := event.Lookup(e.Type)
			if !ok {
				t.Fatalf("Lookup(%s) = false, want true", e.Type)
			}
			wantData(t, &e, &typ)
			object, objectOwner := i.ID, o.ann.Advisor
			if strings.Contains(e.Type, ".advice.") {
				object, objectOwner = x.ID, i.ID
			}
			if want := owner(who); e.Object != object || e.ObjectOwner != objectOwner || e.Owner != want {
				t.Errorf("%s = %+v, want object %s of %s and owner %s", e.Type, e, object, objectOwner, want)
			}
		}
		for _, typ := range event.Catalogue() {
			if !reached[typ.Name] {
				t.Errorf("events of type %s = 0, want some", typ.Name)
			}
		}
	}
}

// wantData wants an event's data to be what its type allows.
func wantData(t *testing.T, e *seen, typ *event.Type) {
	t.Helper()
	if strings.Contains(e.Data, "secret") {
		t.Errorf("data of %s = %s, want nothing secret", e.Type, e.Data)
	}
	var data map[string]any
	if err := json.Unmarshal([]byte(e.Data), &data); err != nil {
		t.Fatalf("Unmarshal(%s) = %v, want nil", e.Data, err)
	}
	want := dataKeys[e.Type]
	if changed, ok := data["changed"].([]any); ok && len(changed) == 1 && changed[0] == "advice_sessions" {
		want = []string{"advice_session_id", "changed"}
	}
	if got := slices.Sorted(maps.Keys(data)); !slices.Equal(got, want) {
		t.Errorf("keys of %s = %v, want %v", e.Type, got, want)
	}
	var schema struct {
		Properties map[string]struct {
			Type  string
			Enum  []any
			Items struct{ Type string }
		}
	}
	if err := json.Unmarshal(typ.DataSchema, &schema); err != nil {
		t.Fatalf("Unmarshal(%s) = %v, want nil", typ.DataSchema, err)
	}
	for name, p := range schema.Properties {
		switch v := data[name].(type) {
		case string:
			if p.Type != "string" || len(p.Enum) > 0 && !slices.Contains(p.Enum, any(v)) {
				t.Errorf("%s of %s = %q, want a %s of %v", name, e.Type, v, p.Type, p.Enum)
			}
		case []any:
			for _, x := range v {
				if _, ok := x.(string); !ok || p.Type != "array" || p.Items.Type != "string" {
					t.Errorf("%s of %s = %v, want a %s of %s", name, e.Type, v, p.Type, p.Items.Type)
				}
			}
		default:
			t.Errorf("%s of %s = %v, want a %s", name, e.Type, v, p.Type)
		}
	}
}
