package event

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Type is an entry of the catalogue: what an event of this type says.
type Type struct {
	Name          string
	Title         string // a few words, for a list
	Description   string
	ObjectID      string // what the ID means in events of this type
	ObjectOwnerID string // likewise
	OwnerID       string // likewise
	DataSchema    json.RawMessage
	ExampleData   json.RawMessage
}

const (
	isSession  = "The advice session."
	ofSession  = "The investor that the advice session belongs to."
	isInvestor = "The investor."
	ofInvestor = "The advisor that owns the investor."
	isOwner    = "The advisor or the client (firm) that the event belongs to."
)

const schemaHead = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":true,"properties":`

const (
	investorSchema = schemaHead + `{"investor_type":{"type":"string","enum":["person","company"]},"investor_name":{"type":"string"}}}`
	updatedSchema  = schemaHead + `{"changed":{"type":"array","items":{"type":"string"},"description":"Names of the changed properties."}}}`
	sessionSchema  = schemaHead + `{"title":{"type":"string"}}}`
	reportSchema   = schemaHead + `{"report_id":{"type":"string"},"content_type":{"type":"string"}}}`
	emptySchema    = schemaHead + `{}}`
)

func sessionType(suffix, title, description, schema, example string) Type {
	return Type{"qap.investor.advice." + suffix, title, description, isSession, ofSession, isOwner,
		json.RawMessage(schema), json.RawMessage(example)}
}

func investorType(suffix, title, description, schema, example string) Type {
	return Type{"qap.investor." + suffix, title, description, isInvestor, ofInvestor, isOwner, json.RawMessage(schema),
		json.RawMessage(example)}
}

// catalogue is in the order of the product page.
var catalogue = []Type{
	sessionType("created", "Advice session created", "A new advice session was created.", sessionSchema,
		`{"title":"Retirement plan"}`),
	sessionType("soft_deleted", "Advice session soft-deleted", "An advice session was soft-deleted.",
		emptySchema, `{}`),
	sessionType("deleted", "Advice session deleted", "An advice session was permanently deleted.", emptySchema, `{}`),
	sessionType("completed", "Advice session completed", "An advice session was completed.", sessionSchema,
		`{"title":"Retirement plan"}`),
	sessionType("report.created", "Advice report generated", "An advice report was generated.", reportSchema,
		`{"report_id":"5f0c7a4e-1d2b-4c3a-8e9f-0a1b2c3d4e5f","content_type":"application/pdf"}`),
	investorType("created", "Investor created", "A new investor was created.", investorSchema,
		`{"investor_type":"person","investor_name":"John Doe"}`),
	investorType("updated", "Investor updated", "An investor's information was updated.", updatedSchema,
		`{"changed":["investor_name"]}`),
	investorType("soft_deleted", "Investor soft-deleted", "An investor was soft-deleted.", emptySchema, `{}`),
	investorType("deleted", "Investor deleted", "An investor was permanently deleted.", emptySchema, `{}`),
}

var index = func() map[string]int {
	m := make(map[string]int, len(catalogue))
	for i := range catalogue {
		m[catalogue[i].Name] = i
	}
	return m
}()

// Catalogue lists the nine event types in the order of the product page. The schemas and examples are shared: do not
// change their bytes.
func Catalogue() []Type { return slices.Clone(catalogue) }

// Index is the place of an event type in the catalogue, -1 when it is none.
func Index(name string) int {
	if i, ok := index[name]; ok {
		return i
	}
	return -1
}

// Lookup finds an event type by its name.
func Lookup(name string) (Type, bool) {
	if i := Index(name); i >= 0 {
		return catalogue[i], true
	}
	return Type{}, false
}

// Example is an event of this type as it could happen now, with an ID of its own.
func (t Type) Example(now time.Time) Event {
	e := Event{ID: uuid.Must(uuid.NewV7()), Type: t.Name, ObjectID: "7d0f4a52-3a51-4c1b-9a7e-0c6d1f1f2a10",
		ObjectOwnerID: "e4b1c1f0-52a4-4d5e-8d0a-3b6f9f2f7c21", OwnerID: "e4b1c1f0-52a4-4d5e-8d0a-3b6f9f2f7c21",
		Time: now.UTC().Truncate(time.Millisecond), Data: slices.Clone(t.ExampleData)}
	if t.ObjectID == isSession {
		e.ObjectID, e.ObjectOwnerID = "2b6a9f0e-8c41-4f0e-b7c3-9d4a55c0e812", "7d0f4a52-3a51-4c1b-9a7e-0c6d1f1f2a10"
	}
	return e
}
