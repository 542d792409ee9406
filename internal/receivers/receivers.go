// Package receivers has a receiver program for each of six languages, filled in for a webhook: it verifies what the
// webhook sends. No secret is ever in it; the programs read theirs from the environment. Start at Code.
package receivers

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"github.com/quantfolio/qhook/internal/webhook"
)

// Language is one that there is a program in.
type Language struct{ ID, Name, File string }

// Languages lists them in the order that they are shown in.
func Languages() []Language {
	return []Language{{"go", "Go", "receiver.go"}, {"node", "Node.js", "receiver.mjs"},
		{"python", "Python", "receiver.py"},
		{"java", "Java", "Receiver.java"}, {"csharp", "C#", "Program.cs"}, {"php", "PHP", "receiver.php"}}
}

//go:embed code
var files embed.FS

// programs are the templates. What comes from a webhook is only ever put in by str or single, as a literal of the
// language.
var programs = template.Must(template.New("").Funcs(template.FuncMap{"str": str, "single": single}).ParseFS(files,
	"code/*"))

// str is a string literal in double quotes of Go, JavaScript, Python, Java and C#: JSON's escapes mean the same in all
// of them.
func str(s string) (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}

// single is a string literal in single quotes of PHP, in which nothing but backslash and quote is special.
func single(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }

// settings are what a program is filled in with.
type settings struct {
	Path     string // of the target, without its query
	GET      bool
	Signed   bool
	Basic    bool
	Bearer   bool
	Header   string // that has an API key; empty: none
	Username string
}

// Code is the program of a language for a webhook. Errors: the language is unknown.
func Code(language string, w *webhook.Webhook) (Language, string, error) {
	for _, l := range Languages() {
		if l.ID != language {
			continue
		}
		_, target, err := webhook.SplitURL(w.URL)
		if err != nil {
			return l, "", fmt.Errorf("the webhook's URL: %w", err)
		}
		path, _, _ := strings.Cut(target, "?")
		s := settings{Path: path, GET: w.Method == webhook.GET, Signed: len(w.SigningKeys) > 0,
			Basic:  w.Auth.Type == webhook.AuthBasic,
			Bearer: w.Auth.Type == webhook.AuthBearer, Username: w.Auth.Username}
		if w.Auth.Type == webhook.AuthAPIKey {
			s.Header = w.Auth.Header
		}
		var b strings.Builder
		if err := programs.ExecuteTemplate(&b, l.File+".tmpl", s); err != nil {
			return l, "", fmt.Errorf("fill in the program: %w", err)
		}
		return l, b.String(), nil
	}
	return Language{}, "", fmt.Errorf("there is no program in %q", language)
}
