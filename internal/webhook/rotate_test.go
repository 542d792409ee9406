package webhook

import (
	"regexp"
	"testing"
	"time"
)

func TestRotateKeepsTheKeyThatSigns(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := &Webhook{}
	w.Rotate(NewSecret("a"), now, now, 0)
	w.Rotate(NewSecret("b"), now, now.Add(time.Hour), time.Hour)
	w.Rotate(NewSecret("c"), now, now.Add(2*time.Hour), time.Hour) // before b ever signed
	for _, c := range []struct {
		after time.Duration
		one   string
		all   []string
	}{
		{0, "a", []string{"a", "c"}},
		{2*time.Hour - 1, "a", []string{"a", "c"}},
		{2 * time.Hour, "c", []string{"c", "a"}},
		{3*time.Hour - 1, "c", []string{"c", "a"}},
		{3 * time.Hour, "c", []string{"c"}},
	} {
		one, all := w.KeysAt(now.Add(c.after))
		ok := one != nil && one.Key.Reveal() == c.one && len(all) == len(c.all)
		for i := 0; ok && i < len(all); i++ {
			ok = all[i].Key.Reveal() == c.all[i]
		}
		promised := w.Promised(now.Add(c.after))
		ok = ok && (promised != nil) == (len(c.all) == 2) && (promised == nil || promised.Key.Reveal() == "a")
		if !ok {
			t.Errorf("KeysAt(+%v) = %v and %d keys, want %s and %v", c.after, one, len(all), c.one, c.all)
		}
	}
}

func TestRotateWithoutOverlapAndAfterExpiry(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := &Webhook{}
	w.Rotate(NewSecret("a"), now, now.Add(time.Hour), 0)
	if one, all := w.KeysAt(now); one == nil || one.Key.Reveal() != "a" || len(all) != 1 {
		t.Errorf("KeysAt before the only key's switch = %v and %d keys, want a and 1", one, len(all))
	}
	w.Rotate(NewSecret("b"), now, now, 0)
	if one, all := w.KeysAt(now); one == nil || one.Key.Reveal() != "b" || len(all) != 1 {
		t.Errorf("KeysAt without overlap = %v and %d keys, want b and 1", one, len(all))
	}
	w.Rotate(NewSecret("c"), now, now.Add(time.Minute), time.Minute)
	if len(w.SigningKeys) != 2 || w.SigningKeys[1].Key.Reveal() != "b" {
		t.Errorf("%d keys after an expired one, want c and b", len(w.SigningKeys))
	}
	for _, k := range w.SigningKeys {
		if !regexp.MustCompile(`^k_[0-9a-f]{8}$`).MatchString(k.ID) {
			t.Errorf("a key's ID is %q, want k_ and 8 hex digits", k.ID)
		}
	}
	if w.SigningKeys[0].ID == w.SigningKeys[1].ID {
		t.Error("two keys have one ID")
	}
}
