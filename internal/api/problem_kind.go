package api

import "net/http"

// docsURL is where problems are described; each has its address there (RFC 9457, section 3.1.1).
const docsURL = "https://github.com/quantfolio/qhook/blob/main/docs/api.md#"

// The problems that a program tells from others of the same status.
const (
	kindTenantUnknown = "tenant-unknown"
	kindTenantEnded   = "tenant-ended"
	kindEventDiffers  = "event-differs"
	kindUnderWay      = "under-way"
	kindKeyReused     = "idempotency-key-reused"
	kindRotation      = "rotation-under-way"
	kindLimit         = "limit-met"
)

// specialKinds are all of them.
var specialKinds = []string{kindTenantUnknown, kindTenantEnded, kindEventDiffers, kindUnderWay, kindKeyReused,
	kindRotation, kindLimit}

// statusKinds are the problems that are told by their status.
var statusKinds = map[int]string{
	http.StatusBadRequest:                  "unreadable",
	http.StatusUnauthorized:                "key-unknown",
	http.StatusForbidden:                   "not-allowed",
	http.StatusNotFound:                    "not-found",
	http.StatusMethodNotAllowed:            "method-not-allowed",
	http.StatusConflict:                    "conflict",
	http.StatusPreconditionFailed:          "changed-meanwhile",
	http.StatusRequestEntityTooLarge:       "too-large",
	http.StatusUnsupportedMediaType:        "not-json",
	http.StatusUnprocessableEntity:         "rules-broken",
	http.StatusTooManyRequests:             "too-many",
	http.StatusRequestHeaderFieldsTooLarge: "headers-too-large",
	http.StatusInternalServerError:         "fault",
	http.StatusServiceUnavailable:          "not-now",
	http.StatusInsufficientStorage:         "disk-full",
}

// typeOf is the address of a status's problem; empty, which is about:blank, for those that we never make.
func typeOf(status int) string {
	if kind := statusKinds[status]; kind != "" {
		return docsURL + kind
	}
	return ""
}

// of says which problem of its status it is.
func (p *Problem) of(kind string) *Problem {
	p.Type = docsURL + kind
	return p
}
