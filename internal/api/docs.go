package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

const docsStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}` +
	`code{font:14px ui-monospace,monospace}table{border-collapse:collapse;width:100%}` +
	`td,th{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #ccc}` +
	`@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#8bf}}`

// docsPolicy allows the page its own style and nothing else: it loads nothing, from here or elsewhere.
var docsPolicy = "default-src 'none'; style-src 'sha256-" + styleHash() +
	"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func styleHash() string {
	sum := sha256.Sum256([]byte(docsStyle))
	return base64.StdEncoding.EncodeToString(sum[:])
}

var docsTemplate = template.Must(template.New("docs").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title><style>` + docsStyle + `</style></head><body>
<h1>{{.Title}}</h1>
<p>{{.Description}}</p>
<p>Everything below <code>/v1</code> takes the header <code>Authorization: Bearer &lt;API key&gt;</code>.
The full description, with every field, is the OpenAPI 3.1 document <a href="/openapi.json">/openapi.json</a>.</p>
{{range .Tags}}<h2>{{.Name}}</h2><p>{{.Text}}</p>
<table><thead><tr><th>Call</th><th>Does</th><th>Parameters</th><th>Answers</th></tr></thead><tbody>
{{range .Operations}}<tr id="{{.ID}}"><td><code>{{.Method}} {{.Path}}</code></td><td>{{.Summary}}.{{with .Text}} {{.}}{{end}}</td>
<td>{{range $i, $p := .Parameters}}{{if $i}}, {{end}}<code>{{$p}}</code>{{end}}</td><td>{{range $i, $c := .Codes}}{{if $i}}, {{end}}{{$c}}{{end}}</td></tr>
{{end}}</tbody></table>
{{end}}</body></html>
`))

type docsOperation struct {
	ID, Method, Path, Summary, Text string
	Parameters, Codes               []string
}

type docsTag struct {
	Name, Text string
	Operations []docsOperation
}

// docsPage lists the document's operations by their tags.
func docsPage(doc *huma.OpenAPI) ([]byte, error) {
	byTag := map[string][]docsOperation{}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, x := range []struct {
			method string
			op     *huma.Operation
		}{{http.MethodGet, item.Get}, {http.MethodPost, item.Post}, {http.MethodPatch, item.Patch}, {http.MethodDelete,
			item.Delete}} {
			if x.op == nil {
				continue
			}
			o := docsOperation{ID: x.op.OperationID, Method: x.method, Path: path, Summary: x.op.Summary,
				Text:  x.op.Description,
				Codes: slices.Sorted(maps.Keys(x.op.Responses))}
			for _, p := range x.op.Parameters {
				o.Parameters = append(o.Parameters, p.Name)
			}
			byTag[x.op.Tags[0]] = append(byTag[x.op.Tags[0]], o)
		}
	}
	data := struct {
		Title, Description string
		Tags               []docsTag
	}{doc.Info.Title, doc.Info.Description, nil}
	for _, t := range tags {
		if list := byTag[t.Name]; list != nil {
			data.Tags = append(data.Tags, docsTag{t.Name, t.Description, list})
		}
	}
	var b bytes.Buffer
	err := docsTemplate.Execute(&b, data)
	return b.Bytes(), err
}
