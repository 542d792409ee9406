package advisory

import (
	"encoding/json"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// The event types that changes trigger.
const (
	sessionCreated     = "qap.investor.advice.created"
	sessionSoftDeleted = "qap.investor.advice.soft_deleted"
	sessionDeleted     = "qap.investor.advice.deleted"
	sessionCompleted   = "qap.investor.advice.completed"
	reportCreated      = "qap.investor.advice.report.created"
	investorCreated    = "qap.investor.created"
	investorUpdated    = "qap.investor.updated"
	investorSoft       = "qap.investor.soft_deleted"
	investorDeleted    = "qap.investor.deleted"
)

// The data of events: what a receiver needs to know what it is about. What people own, want and are advised stays here.
type (
	investorData struct {
		Type string `json:"investor_type"`
		Name string `json:"investor_name"`
	}
	changedData struct {
		Changed []string `json:"changed"`
		Session string   `json:"advice_session_id,omitempty"`
	}
	sessionData struct {
		Title string `json:"title"`
	}
	reportData struct {
		ID          string `json:"report_id"`
		ContentType string `json:"content_type"`
	}
)

func (s *Service) investorEvent(kind string, who Actor, i *store.Investor, data any) event.Event {
	return s.event(kind, i.ID, i.AdvisorID, who, data)
}

func (s *Service) sessionEvent(kind string, who Actor, x *store.AdviceSession, data any) event.Event {
	return s.event(kind, x.ID, x.InvestorID, who, data)
}

func (s *Service) event(kind, object, objectOwner string, who Actor, data any) event.Event {
	raw := []byte("{}")
	if data != nil {
		raw = encode(data)
	}
	return event.Event{Type: kind, ObjectID: object, ObjectOwnerID: objectOwner, OwnerID: who.owner(),
		Time: s.now(), Data: raw}
}

// encode writes one of the structs above, which cannot fail.
func encode(data any) []byte {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return b
}
