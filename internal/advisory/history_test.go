package advisory_test

import (
	"fmt"
	"strings"
	"testing"
)

// past is what the journal says about one advice session or investor.
type past struct {
	born, soft, gone, completed bool
	events                      map[string]int // by the type's last part
}

// history replays a tenant's events: each has to be possible after those before it.
type history struct {
	t        *testing.T
	sessions map[string]*past
	investor map[string]*past
	parent   map[string]string // investor by session
}

// replay reads the events and wants them to be a life that objects can have.
func replay(t *testing.T, list []seen) *history {
	t.Helper()
	h := &history{t: t, sessions: map[string]*past{}, investor: map[string]*past{}, parent: map[string]string{}}
	for n, e := range list {
		if why := h.next(e); why != "" {
			t.Errorf("event %d, %v: %s", n, e, why)
		}
	}
	return h
}

// next takes one event; it says what is impossible about it.
func (h *history) next(e seen) string {
	if kind, ok := strings.CutPrefix(e.Type, "qap.investor.advice."); ok {
		h.parent[e.Object] = e.ObjectOwner
		return h.ofSession(kind, of(h.sessions, e.Object), of(h.investor, e.ObjectOwner))
	}
	kind := strings.TrimPrefix(e.Type, "qap.investor.")
	i := of(h.investor, e.Object)
	if _, rest, ok := strings.Cut(e.Data, `"advice_session_id":"`); ok {
		x := of(h.sessions, rest[:len(rest)-2])
		x.events["restored"]++
		if i.soft || i.gone || x.gone || !x.soft {
			return "the session or its investor cannot be restored"
		}
		x.soft = false
		return ""
	}
	if strings.Contains(e.Data, `"deleted_at"`) {
		kind = "restored"
	}
	i.events[kind]++
	return h.ofInvestor(kind, e.Object, i)
}

func (h *history) ofSession(kind string, x, i *past) string {
	x.events[kind]++
	switch {
	case i.gone || !i.born:
		return "there is no such investor"
	case x.gone || x.born == (kind == "created"):
		return "the session is not there, or again"
	case kind == "deleted":
		x.gone = true
		return ""
	case i.soft || x.soft:
		return "it is soft-deleted"
	case kind == "completed" && x.completed, kind == "report.created" && !x.completed:
		return fmt.Sprint("completed = ", x.completed)
	}
	x.born = true
	x.completed = x.completed || kind == "completed"
	x.soft = kind == "soft_deleted"
	return ""
}

func (h *history) ofInvestor(kind, id string, i *past) string {
	switch {
	case i.gone || i.born == (kind == "created"):
		return "the investor is not there, or again"
	case kind == "deleted":
		i.gone = true
		for s, x := range h.sessions {
			if h.parent[s] == id && !x.gone {
				return "session " + s + " was not deleted before it"
			}
		}
		return ""
	case i.soft != (kind == "restored"):
		return fmt.Sprint("soft-deleted = ", i.soft)
	}
	i.born = true
	i.soft = kind == "soft_deleted"
	return ""
}

func of(all map[string]*past, id string) *past {
	if all[id] == nil {
		all[id] = &past{events: map[string]int{}}
	}
	return all[id]
}
