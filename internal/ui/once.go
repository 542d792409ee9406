package ui

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	onceLife = 5 * time.Minute
	maxOnce  = 200 // of all visitors; the oldest goes first
)

// once keeps the answers to forms until the page that they lead to shows them, so that loading that page again does not
// send the form again. They may be secrets: an answer is in the memory of this process only, for onceLife, and is given
// to the session that it was made for, once. Its number is in an address; that says nothing to anybody else.
type once struct {
	mu   sync.Mutex
	kept map[string]onceAnswer
	ids  []string // oldest first; some may be gone
}

type onceAnswer struct {
	session [sha256.Size]byte
	value   any
	forget  *time.Timer
}

// put keeps an answer for a session, and returns its number.
func (o *once) put(session string, value any) string {
	id := rand.Text()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept == nil {
		o.kept = map[string]onceAnswer{}
	}
	o.ids = append(o.ids, id)
	if len(o.ids) > maxOnce {
		o.drop(o.ids[0])
		o.ids = o.ids[1:]
	}
	forget := time.AfterFunc(onceLife, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.drop(id)
	})
	o.kept[id] = onceAnswer{sha256.Sum256([]byte(session)), value, forget}
	return id
}

// take gives the session's answer of a number away; nil: it has none, or it was given before.
func (o *once) take(session, id string) any {
	o.mu.Lock()
	defer o.mu.Unlock()
	a, ok := o.kept[id]
	if !ok || a.session != sha256.Sum256([]byte(session)) {
		return nil
	}
	o.drop(id)
	return a.value
}

func (o *once) drop(id string) {
	if a, ok := o.kept[id]; ok {
		a.forget.Stop()
		delete(o.kept, id)
	}
}

// answerAt leads from a form to the page that shows what came of it, once.
func (u *UI) answerAt(v *visit, path string, value any) {
	v.redirect(v.base() + path + "?answer=" + url.QueryEscape(u.once.put(u.keyOf(v.r), value)))
}

// answerTo is what came of the form that led here: gone if it was shown before, or is on another node.
func answerTo[T any](u *UI, v *visit) (value T, gone bool) {
	id := v.r.URL.Query().Get("answer")
	if id == "" || v.r.Method != http.MethodGet {
		return value, false
	}
	value, ok := u.once.take(u.keyOf(v.r), id).(T)
	return value, !ok
}
