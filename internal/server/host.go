package server

import (
	"net/http"
	"strings"
)

// forHost refuses requests that were meant for another host (RFC 9110, section 15.5.20), so that no name that somebody
// else points here gets an answer in this server's name. Health is told to whoever asks: probes come by address.
func forHost(host string, next http.Handler) http.Handler {
	if host == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.EqualFold(r.Host, host), r.URL.Path == "/livez", r.URL.Path == "/readyz":
			next.ServeHTTP(w, r)
		default:
			problem(w, http.StatusMisdirectedRequest, "This server does not answer for this host.")
		}
	})
}

// hsts is for browsers that came over TLS (RFC 6797, section 7.1); they come that way for a year then.
var hsts = []string{"max-age=31536000"}

func strict(always bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if always || r.TLS != nil {
			w.Header()["Strict-Transport-Security"] = hsts
		}
		next.ServeHTTP(w, r)
	})
}
