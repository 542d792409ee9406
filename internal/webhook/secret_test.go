package webhook

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

// fmt calls no method of a value in an unexported field: only what Secret is made of protects it there.
func TestSecretInUnexportedFieldsCannotBePrinted(t *testing.T) {
	const canary = "canary-77aa-secret"
	type inner struct{ s Secret }
	type outer struct {
		in   inner
		p    *inner
		list []inner
		m    map[string]inner
		any  any
	}
	in := inner{NewSecret(canary)}
	o := outer{in, &in, []inner{in}, map[string]inner{"a": in}, in}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%t", "%c", "%U",
		"%b", "%e"} {
		for _, x := range []any{in, &in, o, &o, []inner{in}, []*inner{&in}, map[string]inner{"a": in}, [1]outer{o}} {
			fmt.Fprintf(&b, verb+"\n", x)
		}
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("x", "in", in, "pointer", &in, "outer", o, "list", []inner{in},
			"group", slog.GroupValue(slog.Any("o", o)))
	}
	if err := json.NewEncoder(&b).Encode([]any{in, &in, o.list}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, fmt.Errorf("failed: %v %+v %#v", o, in, &in))
	out := b.String()
	numbers := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	for _, form := range []string{canary, hex.EncodeToString([]byte(canary)),
		strings.ToUpper(hex.EncodeToString([]byte(canary))), fmt.Sprintf("% x", canary), numbers} {
		if i := strings.Index(out, form); i >= 0 {
			t.Errorf("the secret was printed as %q in %q", form, out[max(0, i-40):i+len(form)])
		}
	}
}

func TestSecretValue(t *testing.T) {
	if s := NewSecret("a"); s.Reveal() != "a" || s.IsZero() || !reflect.DeepEqual(s, NewSecret("a")) ||
		reflect.DeepEqual(s, NewSecret("b")) {
		t.Error("a secret is not its content")
	}
	if s := NewSecret(""); s.Reveal() != "" || !s.IsZero() || !reflect.DeepEqual(s, Secret{}) {
		t.Error("NewSecret of nothing is not the zero Secret")
	}
}
