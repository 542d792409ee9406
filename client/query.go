package client

import (
	"net/url"
	"reflect"
	"strconv"
)

// Paging is how a page of a list is asked for.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items."`
}

// Values are the query parameters of a filter: what its tags name, without what is zero.
func Values(filter any) url.Values {
	v := url.Values{}
	addValues(v, reflect.ValueOf(filter))
	return v
}

func addValues(to url.Values, filter reflect.Value) {
	for i := range filter.NumField() {
		f, field := filter.Type().Field(i), filter.Field(i)
		name := f.Tag.Get("query")
		switch {
		case f.Anonymous:
			addValues(to, field)
		case name == "" || field.IsZero():
		case field.Kind() == reflect.Int:
			to.Set(name, strconv.FormatInt(field.Int(), 10))
		case field.Kind() == reflect.Bool:
			to.Set(name, "true")
		default:
			to.Set(name, field.String())
		}
	}
}
