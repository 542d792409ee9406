package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed static
var staticFiles embed.FS

// asset is a file of the pages, under a name that changes with its content, so that browsers keep it for ever.
type asset struct {
	file        string // in staticFiles, which has its content
	path        string
	contentType string
	zip         func() []byte // made when it is first asked for
}

// contentTypes are those of the files, whatever the machine's own list of types says.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

var assetsByName = sync.OnceValues(func() (map[string]asset, error) {
	list := map[string]asset{}
	files, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		file := "static/" + f.Name()
		b, err := staticFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		ext := path.Ext(file)
		kind, ok := contentTypes[ext]
		if !ok {
			return nil, fmt.Errorf("%s has no content type", file)
		}
		hash := base64.RawURLEncoding.EncodeToString(sum[:9])
		list[f.Name()] = asset{
			file:        file,
			path:        "/ui/" + strings.TrimSuffix(f.Name(), ext) + "-" + hash + ext,
			contentType: kind,
			zip:         sync.OnceValue(func() []byte { return zipped(file) }),
		}
	}
	return list, nil
})

// plain is the content of an asset.
func plain(file string) []byte {
	b, _ := staticFiles.ReadFile(file) // one that was read before, from memory
	return b
}

func zipped(file string) []byte {
	var zip bytes.Buffer
	w, _ := gzip.NewWriterLevel(&zip, gzip.BestCompression) // the level is a valid one
	_, _ = w.Write(plain(file))                             // to memory
	_ = w.Close()
	return zip.Bytes()
}

// assetPath is where a file of static is served.
func assetPath(name string) (string, error) {
	list, err := assetsByName()
	if err != nil {
		return "", err
	}
	a, ok := list[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %s", name)
	}
	return a.path, nil
}

// assets serves the files of static.
func (u *UI) assets() error {
	list, err := assetsByName()
	if err != nil {
		return err
	}
	for _, a := range list {
		u.mux.HandleFunc("GET "+a.path, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", a.contentType)
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
			h.Set("Vary", "Accept-Encoding")
			var body []byte
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				h.Set("Content-Encoding", "gzip")
				body = a.zip()
			} else {
				body = plain(a.file)
			}
			h.Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		})
	}
	u.mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, list["icon.svg"].path, http.StatusMovedPermanently)
	})
	return nil
}
