package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed static
var staticFiles embed.FS

// asset is a file of the pages, under a name that changes with its content, so that browsers keep it for ever.
type asset struct {
	path        string
	contentType string
	plain, zip  []byte
}

var assetsByName = sync.OnceValues(func() (map[string]asset, error) {
	list := map[string]asset{}
	files, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		b, err := fs.ReadFile(staticFiles, "static/"+f.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		var zip bytes.Buffer
		w, _ := gzip.NewWriterLevel(&zip, gzip.BestCompression) // the level is a valid one
		_, _ = w.Write(b)                                       // to memory
		_ = w.Close()
		ext := path.Ext(f.Name())
		list[f.Name()] = asset{
			path:        "/ui/" + strings.TrimSuffix(f.Name(), ext) + "-" + base64.RawURLEncoding.EncodeToString(sum[:9]) + ext,
			contentType: mime.TypeByExtension(ext), plain: b, zip: zip.Bytes(),
		}
	}
	return list, nil
})

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
			body := a.plain
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				h.Set("Content-Encoding", "gzip")
				body = a.zip
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
