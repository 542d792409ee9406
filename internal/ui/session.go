package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
)

// cookieName is the cookie's; behind TLS it has the prefix that keeps other hosts and plain http from setting it.
const (
	cookieName = "qhook"
	hostPrefix = "__Host-"

	maxForm = 256 << 10 // bytes of a form
)

// calls makes the calls of a key; whose key is good from some networks only is judged by the visitor's address.
func (u *UI) calls(r *http.Request, key, tenant string) client.API {
	return u.cfg.API.Session(key, tenant, r.RemoteAddr)
}

// overTLS tells whether the browser came over TLS, here or to the proxy before. Who lies about it only loses their own
// cookie.
func (u *UI) overTLS(r *http.Request) bool {
	return u.cfg.TLS || r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

// cookieOf is the name of the cookie. Over TLS only one with the prefix counts: another one may come from plain http,
// or from another host of the same domain (draft-ietf-httpbis-rfc6265bis, section 4.1.3.2).
func (u *UI) cookieOf(r *http.Request) string {
	if u.overTLS(r) {
		return hostPrefix + cookieName
	}
	return cookieName
}

// keyOf is the key in the request's cookie.
func (u *UI) keyOf(r *http.Request) string {
	if c, err := r.Cookie(u.cookieOf(r)); err == nil {
		return c.Value
	}
	return ""
}

// setCookie gives the browser a key, or with an empty one takes it away.
func (u *UI) setCookie(w http.ResponseWriter, r *http.Request, key string, expires time.Time) {
	c := &http.Cookie{Name: u.cookieOf(r), Value: key, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Expires: expires}
	if u.overTLS(r) {
		c.Secure = true
		if len(u.cfg.EmbedIn) > 0 {
			c.SameSite, c.Partitioned = http.SameSiteNoneMode, true
		}
	}
	if key == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// signedIn finds out who visits, and has them sign in first if need be.
func (u *UI) signedIn(h handle) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{w: w, r: r, tenant: r.PathValue("tenant")}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		key := u.keyOf(r)
		if key == "" {
			u.askToSignIn(v)
			return
		}
		c := u.calls(r, key, v.tenant)
		caller, err := c.Caller(r.Context())
		if client.IsStatus(err, http.StatusUnauthorized) {
			u.askToSignIn(v)
			return
		}
		// Of no such tenant, or another's: the page that says so is the caller's own.
		if client.IsStatus(err, http.StatusNotFound) {
			if own, e := u.calls(r, key, "").Caller(r.Context()); e == nil {
				v.c, v.caller, v.tenant = c, own, own.Tenant
			}
		}
		if err == nil {
			v.c, v.caller = c, caller
			err = h(v)
		}
		if err != nil {
			u.failed(v, err)
		}
	}
}

// askToSignIn sends the browser to the sign-in, and from there back here. Of a form, or a part of a page, it says that
// the sign-in has ended: what was typed stays in the browser, which sends it again when the page is loaded again.
func (u *UI) askToSignIn(v *visit) {
	switch {
	case v.r.Method != http.MethodGet:
		u.fail(v, http.StatusUnauthorized, "Your sign-in has ended, so nothing was done. Sign in in another tab and "+
			"come back: when you reload this page, your browser sends again what you typed.")
	case v.r.Header.Get("HX-Request") != "":
		v.w.WriteHeader(http.StatusUnauthorized)
	default:
		to := "/sign-in"
		if v.r.URL.Path != "/" {
			to += "?next=" + url.QueryEscape(v.r.URL.RequestURI())
		}
		v.redirect(to)
	}
}

// signedInStill says whether the server answers, and whether the visitor is signed in.
func (u *UI) signedInStill(w http.ResponseWriter, r *http.Request) {
	_, err := u.calls(r, u.keyOf(r), "").Caller(r.Context())
	var p *client.Problem
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case errors.As(err, &p):
		w.WriteHeader(p.Status)
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// redirect sends the browser to another page, also when htmx asked for a part of one.
func (v *visit) redirect(to string) {
	if v.r.Header.Get("HX-Request") != "" {
		v.w.Header().Set("HX-Redirect", to)
		v.w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
}

// home leads to the caller's own pages.
func (u *UI) home(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r}
	key := u.keyOf(r)
	if key == "" {
		v.redirect("/sign-in")
		return
	}
	caller, err := u.calls(r, key, "").Caller(r.Context())
	switch {
	case client.IsStatus(err, http.StatusUnauthorized):
		v.redirect("/sign-in")
	case err != nil:
		u.failed(v, err)
	default:
		v.redirect(homeOf(caller))
	}
}

// homeOf is the first page of who may see what.
func homeOf(c client.Caller) string {
	at := "/t/" + url.PathEscape(c.Tenant)
	switch {
	case c.WebhookID != "":
		return at + "/webhooks/" + url.PathEscape(c.WebhookID)
	case c.Role == client.RoleAdvisor:
		return at + "/platform"
	}
	return at + "/"
}

func (u *UI) switchTenant(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/t/"+url.PathEscape(r.FormValue("tenant"))+"/", http.StatusSeeOther)
}

// signInPage is what the sign-in shows.
type signInPage struct {
	Token string // of a link; empty: ask for a key
	Next  string
	Error string
}

func (u *UI) showSignIn(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r}
	p := signInPage{Token: r.FormValue("token"), Next: localPath(r.FormValue("next"))}
	u.show(v, http.StatusOK, "sign-in", "Sign in", p)
}

// localPath keeps a redirection on this server.
func localPath(to string) string {
	p, err := url.Parse(to)
	if err != nil || p.IsAbs() || p.Host != "" || !strings.HasPrefix(to, "/t/") || strings.Contains(to, "\\") {
		return ""
	}
	return to
}

// signIn makes a sign-in from an API key or from a link. A link is opened by a press of a button, not by GET, so that
// programs that look at links in messages do not use it up.
func (u *UI) signIn(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p := signInPage{Token: r.PostFormValue("token"), Next: localPath(r.PostFormValue("next"))}
	key := p.Token
	if key == "" {
		key = strings.TrimSpace(r.PostFormValue("key"))
	}
	signed, err := u.calls(r, key, "").SignIn(r.Context())
	var problem *client.Problem
	switch {
	case errors.As(err, &problem):
		if p.Error = problem.Detail; problem.Status == http.StatusUnauthorized {
			p.Error = "This API key is not known here."
			if p.Token != "" {
				p.Error = "This link was used before, or its time is over. Ask for a new one, or sign in with " +
					"an API key."
			}
		}
		p.Token = ""
		u.show(v, problem.Status, "sign-in", "Sign in", p)
		return
	case err != nil:
		u.failed(v, err)
		return
	}
	u.setCookie(w, r, signed.Key, signed.ExpiresAt.Time)
	to := p.Next
	if to == "" {
		to = "/"
	}
	v.redirect(to)
}

func (u *UI) signOut(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r}
	if key := u.keyOf(r); key != "" {
		err := u.calls(r, key, "").SignOut(r.Context())
		if err != nil && !client.IsStatus(err, http.StatusUnauthorized) {
			u.failed(v, err)
			return
		}
	}
	u.setCookie(w, r, "", time.Unix(1, 0))
	v.redirect("/sign-in")
}
