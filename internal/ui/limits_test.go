package ui_test

import (
	"net/url"
	"strings"
	"testing"
)

// A form is read up to 256 KiB; of one that is longer nothing counts.
func TestFormsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 256 << 10
	r := newRig(t)
	for n, want := range map[int]int{most - 1: 303, most: 303, most + 1: 401} {
		form := "key=" + url.QueryEscape(adminKey) + "&next="
		form += strings.Repeat("x", n-len(form))
		p := must(stay.Post(r.url+"/sign-in", "application/x-www-form-urlencoded", strings.NewReader(form)))(t)
		p.Body.Close()
		if p.StatusCode != want {
			t.Errorf("a form of %d bytes = %d, want %d", n, p.StatusCode, want)
		}
	}
}
