package event

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestCatalogue(t *testing.T) {
	want := []string{ // the product page's, in its order
		"qap.investor.advice.created", "qap.investor.advice.soft_deleted", "qap.investor.advice.deleted",
		"qap.investor.advice.completed", "qap.investor.advice.report.created",
		"qap.investor.created", "qap.investor.updated", "qap.investor.soft_deleted", "qap.investor.deleted",
	}
	var got []string
	now := time.Date(2023, 3, 15, 12, 46, 0, 1_999_999, time.UTC)
	for i, typ := range Catalogue() {
		got = append(got, typ.Name)
		if found, ok := Lookup(typ.Name); !ok || found.Name != typ.Name || Index(typ.Name) != i {
			t.Errorf("Lookup(%s) = %s, %v and Index %d, want itself and %d", typ.Name, found.Name, ok,
				Index(typ.Name), i)
		}
		if near := Nearest(typ.Name); len(near) != 3 || near[0] != typ.Name {
			t.Errorf("Nearest(%s) = %v, want three, itself first", typ.Name, near)
		}
		for _, text := range []string{typ.Title, typ.Description, typ.ObjectID, typ.ObjectOwnerID, typ.OwnerID} {
			if text == "" {
				t.Errorf("%s has an empty text", typ.Name)
			}
		}
		var schema struct {
			Schema     string                     `json:"$schema"`
			Type       string                     `json:"type"`
			Additional bool                       `json:"additionalProperties"`
			Properties map[string]json.RawMessage `json:"properties"`
		}
		if err := json.Unmarshal(typ.DataSchema, &schema); err != nil || schema.Type != "object" ||
			!schema.Additional ||
			schema.Schema != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("the schema of %s = %s, %v", typ.Name, typ.DataSchema, err)
		}
		var data map[string]any
		if err := json.Unmarshal(typ.ExampleData, &data); err != nil {
			t.Errorf("the example data of %s: %v", typ.Name, err)
		}
		for name := range data {
			if schema.Properties[name] == nil {
				t.Errorf("the schema of %s does not know %s of its example", typ.Name, name)
			}
		}
		e := typ.Example(now)
		again, err := Parse(e.AppendJSON(nil))
		if err != nil || string(again.AppendJSON(nil)) != string(e.AppendJSON(nil)) || e.ID.Version() != 7 {
			t.Errorf("the example of %s does not parse to itself: %v", typ.Name, err)
		}
		if e.Time.Nanosecond() != 1_000_000 {
			t.Errorf("Example(%v).Time = %v, want milliseconds", now, e.Time)
		}
		e.Data[0] = 'x'
		if typ.Example(now).Data[0] != '{' {
			t.Errorf("the examples of %s share their data", typ.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Catalogue() = %v, want %v", got, want)
	}
	if typ, ok := Lookup("qap"); ok || Index("qap") != -1 || Index("") != -1 {
		t.Errorf("Lookup(qap) = %v, want none", typ)
	}
	if a, b := Catalogue()[0].Example(now).ID, Catalogue()[0].Example(now).ID; a == b || a == uuid.Nil {
		t.Errorf("two examples have the ID %v", a)
	}
}
