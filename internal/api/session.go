package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
)

// session makes the calls of a key within the process, without HTTP. Each call is admitted, judged and bounded as the
// same call over HTTP is, by the same code.
type session struct {
	a                   *api
	key, tenant, remote string
}

var _ client.API = (*session)(nil)

// Session is what a key may do, for a tenant that an operator names (empty: none), from an address, as in
// http.Request.RemoteAddr. What it refuses is a *client.Problem.
func (a *api) Session(key, tenant, remote string) client.API { return &session{a, key, tenant, remote} }

// caller finds out who calls.
func (s *session) caller(ctx context.Context, opens bool) (*caller, error) {
	if s.key == "" || len(s.key) > maxKeyText {
		return nil, errUnauthorized("There is no API key.")
	}
	c := new(caller)
	if err := s.a.admit(ctx, c, s.key, s.remote, opens); err != nil {
		return nil, err
	}
	if err := s.a.chooseTenant(ctx, c, s.tenant); err != nil {
		return nil, err
	}
	return c, nil
}

// call makes the call of an operation that huma serves.
func call[I, O any](ctx context.Context, s *session, id string, handle func(context.Context, *I) (*O, error), in *I) (
	*O, error) {
	op, served := s.a.ops[id]
	if !served {
		return nil, newProblem(http.StatusNotFound, "There is nothing at this path.")
	}
	c, err := s.caller(ctx, id == "sign-in")
	if err != nil {
		return nil, s.a.judge(ctx, id, err)
	}
	v := reflect.ValueOf(in).Elem()
	hook := ""
	if strings.HasPrefix(op.path, oneWebhook) {
		hook = v.FieldByName("ID").String()
	}
	if err := op.allows(c, hook); err != nil {
		return nil, s.a.judge(ctx, id, err)
	}
	var broken event.Violations
	if checkInput(v, &broken); len(broken) > 0 {
		return nil, s.a.judge(ctx, id, broken)
	}
	ctx, cancel := context.WithTimeout(withCaller(ctx, c), op.bound())
	defer cancel()
	out, err := handle(ctx, in)
	if err != nil {
		return nil, s.a.judge(ctx, id, overdue(ctx, err))
	}
	return out, nil
}

// body is what a call sends, in the form that the operation reads, so that every door has the same rules.
func body(in any) ([]byte, error) {
	b, err := json.Marshal(in)
	if err == nil && len(b) > maxBody {
		err = newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("The request's body is over %d bytes.", maxBody))
	}
	return b, err
}

// checkInput holds an input to what its tags say, as huma does for requests: defaults are set, and broken rules added.
func checkInput(in reflect.Value, v *event.Violations) {
	for i := range in.NumField() {
		f, field := in.Type().Field(i), in.Field(i)
		where := ""
		for _, kind := range []string{"query", "path", "header"} {
			if name := f.Tag.Get(kind); name != "" {
				where = kind + "." + name
			}
		}
		switch {
		case f.Anonymous && field.Kind() == reflect.Struct:
			checkInput(field, v)
		case where == "":
		case field.Kind() == reflect.String:
			if field.IsZero() {
				field.SetString(f.Tag.Get("default"))
			}
			checkText(field.String(), f.Tag, where, v)
		case field.Kind() == reflect.Int:
			checkNumber(field, f.Tag, where, v)
		}
	}
}

func checkText(s string, tag reflect.StructTag, where string, v *event.Violations) {
	if s == "" {
		return
	}
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		v.Add(where, "must be text")
	}
	if most, err := strconv.Atoi(tag.Get("maxLength")); err == nil && utf8.RuneCountInString(s) > most {
		v.Add(where, fmt.Sprintf("must have at most %d characters", most))
	}
	if values := tag.Get("enum"); values != "" && !slices.Contains(strings.Split(values, ","), s) {
		v.Add(where, fmt.Sprintf("must be one of %s", strings.ReplaceAll(values, ",", ", ")))
	}
	if pattern := tag.Get("pattern"); pattern != "" && !regexp.MustCompile(pattern).MatchString(s) {
		v.Add(where, "must be "+tag.Get("patternDescription"))
	}
}

func checkNumber(field reflect.Value, tag reflect.StructTag, where string, v *event.Violations) {
	if n, err := strconv.ParseInt(tag.Get("default"), 10, 64); err == nil && field.IsZero() {
		field.SetInt(n)
	}
	if least, err := strconv.ParseInt(tag.Get("minimum"), 10, 64); err == nil && field.Int() < least {
		v.Add(where, fmt.Sprintf("must be at least %d", least))
	}
	if most, err := strconv.ParseInt(tag.Get("maximum"), 10, 64); err == nil && field.Int() > most {
		v.Add(where, fmt.Sprintf("must be at most %d", most))
	}
}
