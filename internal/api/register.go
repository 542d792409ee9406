package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

const securityName = "apiKey"

// operation is what the document and the adapter have to know of a call.
type operation struct {
	id, method, path string
	tag, summary     string
	text             string // more than the summary; may be empty
	status           int    // of success
	roles            []store.Role
	toBound          bool // open to keys that are bound to one webhook; below /v1/webhooks/{id} only for that one
	body             any  // the zero value of the body's type, for the document; nil: no body
	bodyOptional     bool
	errors           []int         // beyond those of every call
	limit            time.Duration // of the handler; 0: storeTime
}

// Scope is how an operator says for which tenant a call is.
type Scope struct {
	TenantHeader string `header:"X-Tenant" doc:"The tenant; for operators only, who act for the tenant default otherwise."`
	TenantQuery  string `query:"tenant" doc:"The same as the header X-Tenant."`
}

// None is an answer without a body.
type None struct{}

// register puts an operation on the mux and into the document. Roles are checked before anything is read; what the
// handler returns as error becomes a problem document.
func register[I, O any](a *api, op operation, handle func(context.Context, *I) (*O, error)) {
	h := a.operation(op)
	h.MaxBodyBytes = -1    // it was read and bounded before
	h.BodyReadTimeout = -1 // the server has one for all bodies; one that lasts would break off the handler
	h.Middlewares = huma.Middlewares{a.allow(op)}
	a.ops[op.id] = op
	limit := op.bound()
	huma.Register(a.doc, h, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.judge(ctx, op.id, overdue(ctx, err))
		}
		return out, nil
	})
	a.describe(op)
}

// document puts an operation into the document only; out is the zero value of its answer.
func (a *api) document(op operation, out any) {
	h := a.operation(op)
	h.Parameters = scopeParameters()
	h.Responses = map[string]*huma.Response{strconv.Itoa(op.status): {
		Description: http.StatusText(op.status),
		Content:     map[string]*huma.MediaType{"application/json": {Schema: a.schema(out)}},
	}}
	a.doc.OpenAPI().AddOperation(&h)
	a.describe(op)
}

func (a *api) operation(op operation) huma.Operation {
	return huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Tags: []string{op.tag}, Summary: op.summary,
		Description: op.text, DefaultStatus: op.status, Security: []map[string][]string{{securityName: {}}},
	}
}

// describe adds to the document what huma cannot know: the body's schema, since bodies are read by our own strict
// decoder, and our problem documents.
func (a *api) describe(op operation) {
	item := a.doc.OpenAPI().Paths[op.path]
	h := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[op.method]
	if op.body != nil {
		mt := map[string]*huma.MediaType{"application/json": {Schema: a.schema(op.body)}}
		if op.method == http.MethodPatch {
			mt["application/json"].Schema = a.patchSchema(op.body)
			mt["application/merge-patch+json"] = mt["application/json"]
		}
		h.RequestBody = &huma.RequestBody{Required: !op.bodyOptional, Content: mt}
	}
	delete(h.Responses, "default")
	// 400, a URL that cannot be read; 404, a tenant that there is not, which any call can name; 409, one that has ended.
	codes := append([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusUnprocessableEntity, http.StatusInternalServerError, http.StatusServiceUnavailable}, op.errors...)
	if op.method != http.MethodGet {
		codes = append(codes, http.StatusConflict, http.StatusInsufficientStorage)
	}
	if op.body != nil {
		codes = append(codes, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	slices.Sort(codes)
	for _, code := range codes {
		h.Responses[strconv.Itoa(code)] = &huma.Response{
			Description: http.StatusText(code),
			Content:     map[string]*huma.MediaType{problemType: {Schema: a.schema(client.Problem{})}},
		}
	}
	delete(a.doc.OpenAPI().Components.Schemas.Map(), "ErrorModel")
	delete(a.doc.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
}

func (a *api) schema(v any) *huma.Schema {
	return a.doc.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(v), true, "")
}

// patchSchema is the schema of a JSON merge patch (RFC 7396) of a type: nothing is required, and null is the default.
func (a *api) patchSchema(v any) *huma.Schema {
	all := a.doc.OpenAPI().Components.Schemas
	patch := *all.SchemaFromRef(a.schema(v).Ref)
	patch.Required, patch.Properties = nil, maps.Clone(patch.Properties)
	for name, p := range patch.Properties {
		if p.Ref != "" {
			patch.Properties[name] = &huma.Schema{AnyOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}},
				Description: p.Description}
			continue
		}
		null := *p
		if null.Nullable = true; len(null.Enum) > 0 {
			null.Enum = append(slices.Clone(null.Enum), nil)
		}
		patch.Properties[name] = &null
	}
	name := reflect.TypeOf(v).Name()
	if rest, found := strings.CutPrefix(name, "New"); found {
		name = rest + "Patch"
	}
	all.Map()[name] = &patch
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}

func scopeParameters() []*huma.Param {
	text := &huma.Schema{Type: "string"}
	return []*huma.Param{
		{Name: TenantHeader, In: "header", Schema: text,
			Description: "The tenant; for operators only, who act for the tenant default otherwise."},
		{Name: "tenant", In: "query", Schema: text, Description: "The same as the header X-Tenant."},
	}
}

// oneWebhook is where the operations of one webhook are.
const oneWebhook = "/v1/webhooks/{id}"

// bound is how long the handler may take.
func (op *operation) bound() time.Duration { return cmp.Or(op.limit, storeTime) }

// allows fails unless the caller may make the call; hook is the webhook's ID where the path is one webhook's.
func (op *operation) allows(c *caller, hook string) error {
	switch {
	case !c.may(op.roles):
		return errForbidden(c.key.Role, op.roles)
	case c.key.Webhook != "" && !op.toBound:
		return newProblem(http.StatusForbidden, "This sign-in is for one webhook and may not do this.")
	case strings.HasPrefix(op.path, oneWebhook) && !c.sees(hook):
		return errNotFound("webhook")
	case c.ended && op.method != http.MethodGet && op.id != "sign-out":
		return errEnded(c.tenant)
	}
	return nil
}

// allow lets those through who may, and reads the body, if the operation has one.
func (a *api) allow(op operation) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		c := callerOf(ctx.Context())
		err := op.allows(c, ctx.Param("id"))
		switch {
		case err != nil:
		case op.body == nil:
			next(ctx)
			return
		default:
			r, _ := humago.Unwrap(ctx)
			if err = a.held(r, c, func() { next(ctx) }); err == nil {
				return
			}
		}
		_, w := humago.Unwrap(ctx)
		p, _ := problemOf(err)
		writeProblem(w, p)
	}
}

// object is a JSON object that is taken apart member by member, so that every broken rule is found at once and what
// nobody asked for is refused.
type object struct {
	prefix  string // of the members' names in violations
	what    string // the object's name in violations
	members map[string]json.RawMessage
	names   []string // of all members, in their order
	known   []string // members that were asked for
	v       *event.Violations
}

// parseObject reads a body that has to be one JSON object.
func parseObject(raw []byte, what string) (*object, error) {
	v := new(event.Violations)
	switch {
	case !utf8.Valid(raw):
		v.Add("", "The body is not valid UTF-8.")
	case tooDeep(raw):
		v.Add("", "The body is nested too deeply.")
	case !json.Valid(raw):
		v.Add("", "The body is not valid JSON.")
	}
	if len(*v) > 0 {
		return nil, *v
	}
	o, ok := takeApart(raw, "", what, v)
	if !ok {
		v.Add("", "The body must be a JSON object.")
		return nil, *v
	}
	return o, nil
}

// takeApart reads valid JSON; false when it is no object.
func takeApart(raw []byte, prefix, what string, v *event.Violations) (*object, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	o := &object{prefix: prefix, what: what, members: map[string]json.RawMessage{}, v: v}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return nil, false
		}
		if _, twice := o.members[name]; twice {
			v.Add(prefix+name, "is given twice")
		} else {
			o.names = append(o.names, name)
		}
		o.members[name] = value
	}
	return o, true
}

// tooDeep tells whether brackets outside strings nest beyond maxDepth; it works on any bytes.
func tooDeep(raw []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// take removes a member and reads it as a T. given is false when it is absent or not a T (which is a violation then);
// null is true when it is null, which in a merge patch means: as if it had never been set.
func take[T any](o *object, name, kind string) (val T, given, null bool) {
	o.known = append(o.known, name)
	raw, ok := o.members[name]
	if !ok {
		return val, false, false
	}
	delete(o.members, name)
	if string(raw) == "null" {
		return val, true, true
	}
	if err := json.Unmarshal(raw, &val); err != nil {
		o.v.Add(o.prefix+name, "must be "+kind)
		return val, false, false
	}
	return val, true, false
}

// finish refuses what is left, in order.
func (o *object) finish() {
	names := make([]string, 0, len(o.members))
	for n := range o.members {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		o.v.Add(o.prefix+n[:min(len(n), 64)], "is not a property of "+o.what+nameMeant(n, o.known))
	}
}
