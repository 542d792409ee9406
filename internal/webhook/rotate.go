package webhook

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// Rotate makes key the webhook's signing key: from switchAt on X-Quantfolio-Signature-256 is made with it, and until
// overlap after that webhook-signature carries the old key's too. There are never more than two keys: the old one that
// stays is the one that signs now, which every receiver has, and not one whose own switch is still to come.
func (w *Webhook) Rotate(key Secret, now, switchAt time.Time, overlap time.Duration) {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	keys := []SigningKey{{ID: "k_" + hex.EncodeToString(b[:]), Key: key, SwitchAt: switchAt}}
	if one, _ := w.KeysAt(now); one != nil {
		old := *one
		old.ExpiresAt = switchAt.Add(overlap)
		keys = append(keys, old)
	}
	w.SigningKeys = keys
}

// Promised is the key that a rotation under way keeps good until it expires, since a receiver may have no other; nil:
// none.
func (w *Webhook) Promised(now time.Time) *SigningKey {
	for i := range w.SigningKeys {
		if k := &w.SigningKeys[i]; now.Before(k.ExpiresAt) {
			return k
		}
	}
	return nil
}

// KeysAt tells which keys sign at a time: one for X-Quantfolio-Signature-256, nil when the webhook has none, and those
// for webhook-signature, that one first: a receiver may look at the first only.
func (w *Webhook) KeysAt(now time.Time) (*SigningKey, []SigningKey) {
	var one *SigningKey
	var all []SigningKey
	for i := range w.SigningKeys {
		k := &w.SigningKeys[i]
		if !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
			continue
		}
		all = append(all, *k)
		if one == nil && !now.Before(k.SwitchAt) {
			one = k
		}
	}
	if one == nil && len(all) > 0 {
		one = &w.SigningKeys[len(all)-1] // all switch later: the oldest
	}
	if len(all) == 2 && all[1].ID == one.ID {
		all[0], all[1] = all[1], all[0]
	}
	return one, all
}
