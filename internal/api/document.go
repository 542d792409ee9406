package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/signature"
)

// apiVersion is the API's own; it changes when what clients rely on does.
const apiVersion = "1.0.0"

// tags are in the order in which they are read.
var tags = []*huma.Tag{
	{Name: "Events", Description: "What happens is published once, and stays on record with what became of it."},
	{Name: "Webhooks", Description: "Who is told of what: the target, its authentication, its headers and its signing keys."},
	{Name: "Deliveries", Description: "One event owed to one webhook: its state, every attempt, and trying it again."},
	{Name: "Statistics", Description: "Numbers over a period, and the state of each webhook."},
	{Name: "Tenants and keys", Description: "Advisory firms, and what gives access to their data."},
	{Name: "Sign-in", Description: "Links and sign-ins: keys of limited life for people."},
	{Name: advisoryTag, Description: "Advisors, investors, advice sessions and reports, whose changes publish their events."},
}

// finishDocument adds what no single call knows: the catalogue's names, the classes of error, and the requests that
// webhooks get.
func (a *api) finishDocument() {
	doc := a.doc.OpenAPI()
	named := func(name, description string, values []string) *huma.Schema {
		s := &huma.Schema{Type: "string", Description: description}
		for _, v := range values {
			s.Enum = append(s.Enum, v)
		}
		doc.Components.Schemas.Map()[name] = s
		return &huma.Schema{Ref: "#/components/schemas/" + name}
	}
	var types []string
	for _, t := range event.Catalogue() {
		types = append(types, t.Name)
	}
	typeName := named("TypeName", "The name of an event type.", types)
	class := named("ErrorClassName", "Why an attempt failed.",
		parts(func(e client.ErrorClass) string { return e.Class }))
	reason := named("ErrorReason", "Why a TLS connection failed.",
		parts(func(e client.ErrorClass) string { return e.Reason }))
	for name, s := range doc.Components.Schemas.Map() {
		for property, p := range s.Properties {
			switch {
			case property == "headers" &&
				slices.Contains([]string{"NewWebhook", "WebhookPatch", "PreviewWebhook"}, name):
				s.Properties[property] = headersSchema(p)
			case property == "class", property == "last_class":
				s.Properties[property] = &huma.Schema{Ref: class.Ref, Description: p.Description}
			case property == "reason", property == "last_reason":
				s.Properties[property] = &huma.Schema{Ref: reason.Ref, Description: p.Description}
			case property == "event_type", property == "type" && slices.Contains(
				[]string{"Event", "NewEvent", "StoredEvent", "EventDetail", "Published", "EventType"}, name):
				s.Properties[property] = &huma.Schema{Ref: typeName.Ref, Description: p.Description}
			}
		}
	}
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			for _, p := range op.Parameters {
				if p.Name == "last_class" {
					p.Schema = class
				}
				p.Schema.PatternDescription = "" // huma's own, and no part of OpenAPI
			}
		}
	}
	doc.Tags = slices.DeleteFunc(slices.Clone(tags),
		func(t *huma.Tag) bool { return t.Name == advisoryTag && a.advisory == nil })
	doc.Webhooks = map[string]*huma.PathItem{}
	for _, t := range event.Catalogue() {
		doc.Webhooks[t.Name] = a.deliveryItem(&t)
	}
}

// headersSchema is what a webhook's headers may be given as: the list that they are read back as, or values by name.
func headersSchema(list *huma.Schema) *huma.Schema {
	byName := &huma.Schema{Type: "object", AdditionalProperties: &huma.Schema{Type: "string", Nullable: list.Nullable},
		Examples: []any{map[string]any{"X-Team": "blue"}}}
	ways := []*huma.Schema{{Type: "array", Items: list.Items}, byName}
	if list.Nullable {
		ways = append(ways, &huma.Schema{Type: "null"})
	}
	return &huma.Schema{AnyOf: ways, Description: list.Description}
}

// parts are a part of all classes of error, in their order.
func parts(of func(client.ErrorClass) string) (list []string) {
	for _, e := range client.ErrorClasses {
		if s := of(e); s != "" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// deliveryItem describes the requests that a webhook gets for events of a type: by POST or, if it is made so, by GET.
func (a *api) deliveryItem(t *event.Type) *huma.PathItem {
	text := func(s string) *huma.Schema { return &huma.Schema{Type: "string", Examples: []any{s}} }
	header := func(name, example, description string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Schema: text(example), Description: description}
	}
	signed := []*huma.Param{
		header(signature.HeaderQuantfolio, "sha256=2f7d…",
			"Where the webhook has a signing key: the HMAC-SHA256 of the raw body, or of the raw query."),
		header(signature.HeaderID, "0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44",
			"Likewise: the event's ID, the same at every attempt."),
		header(signature.HeaderTimestamp, "1678884360", "Likewise: Unix seconds of this attempt."),
		header(signature.HeaderSignature, "v1,K5oZ…",
			"Likewise: signatures as of Standard Webhooks, with spaces between."),
	}
	answers := map[string]*huma.Response{
		"2XX":     {Description: "It is delivered."},
		"410":     {Description: "The webhook is disabled: the receiver is gone for good."},
		"default": {Description: "Tried again, on the webhook's schedule; Retry-After is obeyed."},
	}
	operation := func(suffix string) *huma.Operation {
		return &huma.Operation{
			OperationID: "receive-" + strings.ReplaceAll(strings.ReplaceAll(t.Name, ".", "-"), "_", "-") + suffix,
			Summary:     t.Title, Description: t.Description, Parameters: slices.Clone(signed), Responses: answers,
			Security: []map[string][]string{},
		}
	}
	post, get := operation(""), operation("-by-get")
	post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {
		Schema: a.schema(client.Event{}), Example: json.RawMessage(exampleOf(t)),
	}}}
	names := map[string]string{"id": "The event's ID.", "type": "Always " + t.Name + ".", "object_id": t.ObjectID,
		"object_owner_id": t.ObjectOwnerID, "owner_id": t.OwnerID, "time": "When it happened, with milliseconds."}
	for _, name := range event.QueryNames {
		get.Parameters = append(get.Parameters,
			&huma.Param{Name: name, In: "query", Required: true, Description: names[name],
				Schema: &huma.Schema{Type: "string"}})
	}
	get.Description += " To a webhook with the method GET: without data."
	return &huma.PathItem{Post: post, Get: get}
}

// What the document's examples have.
var (
	exampleTime = time.Date(2023, 3, 15, 12, 46, 0, 0, time.UTC)
	exampleID   = uuid.MustParse("0190a5d2-7c1e-7f3a-9a52-6f0f7c2b1e44")
)

// exampleOf is the body of the type's example.
func exampleOf(t *event.Type) []byte {
	e := t.Example(exampleTime)
	e.ID = exampleID
	return e.AppendJSON(nil)
}

// queryParams are the parameters that the tags of a filter name.
func (a *api) queryParams(filter any) (list []*huma.Param) {
	t := reflect.TypeOf(filter)
	for i := range t.NumField() {
		f := t.Field(i)
		s := huma.SchemaFromField(a.doc.OpenAPI().Components.Schemas, f, "")
		s.PatternDescription = ""
		list = append(list, &huma.Param{Name: f.Tag.Get("query"), In: "query", Schema: s, Description: f.Tag.Get("doc")})
	}
	return list
}

// documentStream puts a stream of server-sent events into the document; each of its lines of data is an out.
func (a *api) documentStream(op operation, filter, out any) {
	a.document(op, out)
	h := a.doc.OpenAPI().Paths[op.path].Get
	h.Parameters = append(h.Parameters, a.queryParams(filter)...)
	h.Responses["200"].Content = map[string]*huma.MediaType{"text/event-stream": {Schema: a.schema(out)}}
	h.Responses["200"].Description = http.StatusText(http.StatusOK) + "; the schema is that of the data of each event."
}

// documentLines says that an operation's answer is JSON lines, each an out.
func (a *api) documentLines(path string, out any) {
	h := a.doc.OpenAPI().Paths[path].Get
	h.Parameters = append(h.Parameters, &huma.Param{Name: "id", In: "path", Required: true,
		Description: "Of what the path names.", Schema: &huma.Schema{Type: "string"}})
	h.Responses["200"].Content = map[string]*huma.MediaType{"application/x-ndjson": {Schema: a.schema(out)}}
	h.Responses["200"].Description = http.StatusText(http.StatusOK) + "; the schema is that of each line."
}
