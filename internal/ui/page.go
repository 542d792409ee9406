package ui

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/inert"
)

//go:embed templates
var templateFiles embed.FS

// pages are the templates by name. Each page has all parts, and its own content. It is parsed when it is first shown:
// all of them take 4 MB, of which an idle node needs nothing.
type pages map[string]func() (*template.Template, error)

func newPages() (pages, error) {
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	list := pages{}
	for _, file := range names {
		list[strings.TrimSuffix(path.Base(file), ".html")] = sync.OnceValues(func() (*template.Template, error) {
			return template.New("").Funcs(funcs).ParseFS(templateFiles, "templates/parts/*.html", file)
		})
	}
	return list, nil
}

// execute writes a part of a page: the template of that name.
func (p pages) execute(w io.Writer, name, part string, data any) error {
	parse, ok := p[name]
	if !ok {
		return fmt.Errorf("there is no page %s", name)
	}
	t, err := parse()
	if err != nil {
		return fmt.Errorf("parse the page %s: %w", name, err)
	}
	return t.ExecuteTemplate(w, part, data)
}

// page is what every template is given.
type page struct {
	Title   string
	Name    string // of the template
	Base    string // of the tenant's pages: /t/acme
	Path    string // of this page with its query
	Tenant  string
	Caller  client.Caller
	Signed  bool // somebody is signed in
	Content any
}

// CanChange tells whether the caller may change things.
func (p page) CanChange() bool {
	return p.Caller.Role == client.RoleAdmin || p.Caller.Role == client.RoleOperator
}

// Reads tells whether the caller may see webhooks and deliveries.
func (p page) Reads() bool { return p.Signed && p.Caller.Role != client.RoleAdvisor }

// Operator tells whether the caller may see all tenants.
func (p page) Operator() bool { return p.Caller.Role == client.RoleOperator }

// Bound tells whether the caller sees one webhook only.
func (p page) Bound() bool { return p.Caller.WebhookID != "" }

func (v *visit) page(name, title string, content any) page {
	return page{
		Title: title, Name: name, Base: v.base(), Path: v.r.URL.RequestURI(), Tenant: v.tenant, Caller: v.caller,
		Signed: v.c != nil, Content: content,
	}
}

// base is the path of the tenant's pages.
func (v *visit) base() string { return "/t/" + url.PathEscape(v.tenant) }

// show answers with a page.
func (u *UI) show(v *visit, status int, name, title string, content any) {
	u.render(v, status, name, "page", v.page(name, title, content))
}

// part answers with a part of a page: the template of that name.
func (u *UI) part(v *visit, name, part string, content any) error {
	u.render(v, http.StatusOK, name, part, v.page(name, "", content))
	return nil
}

func (u *UI) render(v *visit, status int, name, part string, p page) {
	var b bytes.Buffer
	if err := u.pages.execute(&b, name, part, p); err != nil {
		u.log.ErrorContext(v.r.Context(), "a page could not be made", "page", name, "error", err)
		http.Error(v.w, "The page could not be made. It is in the server's log.", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(inert.Text(b.Bytes()))
}

// failPage is shown when something went wrong.
type failPage struct {
	Status int
	Text   string
	Errors []client.FieldError
}

// fail answers with a page that says what went wrong.
func (u *UI) fail(v *visit, status int, text string, errs ...client.FieldError) {
	u.show(v, status, "fail", http.StatusText(status), failPage{status, text, errs})
}

// failed answers with the page of an error.
func (u *UI) failed(v *visit, err error) {
	var p *client.Problem
	if errors.As(err, &p) {
		u.fail(v, p.Status, p.Detail, p.Errors...)
		return
	}
	u.fail(v, statusOf(err), u.said(v, err))
}

// statusOf is the HTTP status of the page of an error.
func statusOf(err error) int {
	var p *client.Problem
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p.Status
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusInternalServerError
}

// said is an error in words; what is not for visitors is in the log.
func (u *UI) said(v *visit, err error) string {
	var p *client.Problem
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return sentence(p)
	case errors.As(err, &large):
		return "The form is too large."
	}
	u.log.ErrorContext(v.r.Context(), "a page failed", "path", v.r.URL.Path, "error", err)
	return "Something went wrong here. It is in the server's log."
}

// problem is the API's refusal of what a form asked for, when err is one; other errors are not about the form.
func refusal(err error) (*client.Problem, bool) {
	var p *client.Problem
	ok := errors.As(err, &p) && slices.Contains(refusals, p.Status)
	return p, ok
}

// refusals are the statuses of answers that are about what was asked for.
var refusals = []int{http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed,
	http.StatusUnprocessableEntity, http.StatusTooManyRequests}
