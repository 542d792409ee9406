package client

import (
	"context"
	"net/http"
	"strconv"
	"strings"
)

// ErrorClass says in words what a class of error is, to whoever runs the receiver.
type ErrorClass struct {
	Class  string `json:"class" doc:"As attempts have it."`
	Reason string `json:"reason,omitempty" doc:"Of class tls: why."`
	Status string `json:"status,omitempty" example:"5xx" doc:"Of class http_status: the status that it is about."`
	Means  string `json:"means" doc:"What happened."`
	Cause  string `json:"cause" doc:"What usually causes it."`
	Do     string `json:"do" doc:"What to do."`
}

const openssl = "openssl s_client -connect host:443 -servername host"

// ErrorClasses are all that there are. The last of a class stands for all that the others of it do not name.
var ErrorClasses = []ErrorClass{
	{Class: "http_status", Status: "401",
		Means: "The receiver answered 401: it does not know who is calling.",
		Cause: "The webhook's authentication is missing or wrong, or a login page is before the receiver.",
		Do:    "Set the webhook's authentication to what the receiver wants, or have it verify the signature instead."},
	{Class: "http_status", Status: "403",
		Means: "The receiver answered 403: the request is not allowed.",
		Cause: "A firewall, a protection against bots or forged forms (CSRF), or a failed check of the signature.",
		Do:    "Exempt the webhook's path from such protections, and check that the signing key is the webhook's."},
	{Class: "http_status", Status: "404",
		Means: "The receiver answered 404: there is nothing at the webhook's URL.",
		Cause: "A mistake in the URL, or a route that is not deployed, or has another path behind a proxy.",
		Do:    "Correct the webhook's URL, or deploy the route; paths can differ by case and by a slash at the end."},
	{Class: "http_status", Status: "405",
		Means: "The receiver answered 405: it does not take this method at the webhook's URL.",
		Cause: "The webhook's method is POST and the route takes GET, or the other way round.",
		Do:    "Set the webhook's method to what the route takes."},
	{Class: "http_status", Status: "408",
		Means: "The receiver answered 408: it waited too long for the request.",
		Cause: "An overloaded receiver, or a proxy before it whose time for reading a request is very short.",
		Do:    "Look at the load of both, and allow some seconds for reading a request."},
	{Class: "http_status", Status: "410",
		Means: "The receiver answered 410: it is gone for good, which switches the webhook off.",
		Cause: "The route was taken away on purpose, or the receiver answers 410 where 404 is meant.",
		Do:    "Enable the webhook when the receiver is back; what was held goes out then."},
	{Class: "http_status", Status: "413",
		Means: "The receiver answered 413: the event is too large for it.",
		Cause: "A limit of request bodies in the web server or the framework, such as nginx's client_max_body_size.",
		Do:    "Allow bodies of 300 KiB: an event has up to 256."},
	{Class: "http_status", Status: "415",
		Means: "The receiver answered 415: it does not take JSON.",
		Cause: "The route wants a form or another type of content.",
		Do:    "Have it take Content-Type: application/json."},
	{Class: "http_status", Status: "429",
		Means: "The receiver answered 429: it gets too many requests.",
		Cause: "A rate limit of the receiver, or of something before it.",
		Do:    "Raise the limit for webhooks, or say when to come again by Retry-After, which is obeyed up to a day."},
	{Class: "http_status", Status: "5xx",
		Means: "The receiver answered 5xx: it failed.",
		Cause: "An error in the receiver's program; 502, 503 or 504: the proxy before it does not reach it.",
		Do:    "Look in the receiver's and the proxy's log at the time of the attempt."},
	{Class: "http_status",
		Means: "The receiver answered with an error.",
		Cause: "It refuses the request, often since it does not know the event type or a check of the signature fails.",
		Do:    "Look at the response and in the receiver's log; answer 2xx also to events that are of no use to it."},
	{Class: "redirect",
		Means: "The receiver redirected; redirects are not followed.",
		Cause: "The URL lacks https, www or a slash at the end, or a login page is before the receiver.",
		Do:    "Set the webhook's URL to the address that it leads to."},
	{Class: "timeout",
		Means: "There was no answer within the webhook's timeout.",
		Cause: "The receiver does its work before it answers, or is overloaded.",
		Do:    "Answer 2xx at once and do the work afterwards, or give the webhook a longer timeout, up to a minute."},
	{Class: "connect",
		Means: "There was no connection: the receiver's address refuses it or cannot be reached.",
		Cause: "Nothing listens on the URL's port, or a firewall refuses.",
		Do:    "See that the receiver runs and listens on that port, and that its firewall lets the sender in."},
	{Class: "address",
		Means: "Nobody was reached: the name does not resolve, its address does not answer or is not allowed.",
		Cause: "A mistake in the URL, a name or an address that is not public, or a firewall that drops connections.",
		Do: "Look the name up in public DNS and connect from outside your network; " +
			"if that works, ask the operator whether the address is allowed."},
	{Class: "proxy",
		Means: "The operator's proxy made no connection to the receiver.",
		Cause: "The proxy that requests leave by is down, does not reach the receiver, or does not allow it.",
		Do:    "See that the receiver can be reached from outside; if it can, ask the operator."},
	{Class: "tls", Reason: "client_certificate",
		Means: "The server asks for a client certificate, which is not sent.",
		Cause: "The server, or a proxy before it, is set to require one (mutual TLS).",
		Do:    "Require none at the webhook's URL, and verify the signature instead."},
	{Class: "tls", Reason: "expired",
		Means: "The server's certificate has expired, or is not valid yet.",
		Cause: "It was not renewed, or it was and the server has not loaded the new one.",
		Do:    "Renew it and reload the server; " + openssl + " shows its dates."},
	{Class: "tls", Reason: "wrong_name",
		Means: "The server's certificate is for other names than the URL's.",
		Cause: "The server shows its default certificate, or the name was left out when the certificate was made.",
		Do:    "Get a certificate for the URL's name, or use a name that it is for; " + openssl + " shows it."},
	{Class: "tls", Reason: "unknown_issuer",
		Means: "The server's certificate is of no issuer that is trusted.",
		Cause: "Usually the server does not send its intermediate certificate; else the certificate is self-signed, " +
			"or of a private authority.",
		Do: "Have the server send the whole chain of a public authority; " + openssl +
			" must say Verify return code: 0 (ok)."},
	{Class: "tls", Reason: "old_version",
		Means: "The server speaks only TLS 1.1 or older.",
		Cause: "An old server, or old settings of it.",
		Do:    "Enable TLS 1.2 or 1.3."},
	{Class: "tls", Reason: "hello_dropped",
		Means: "Nothing came back to the greeting of TLS.",
		Cause: "The server hangs, or something before it drops large greetings, as they are with post-quantum key shares.",
		Do: "See that the server answers, and update such a firewall or load balancer; until then the operator can set " +
			"--tls-small-hello."},
	{Class: "tls", Reason: "other",
		Means: "There was no trusted TLS connection.",
		Cause: "The server's certificate or its settings of TLS, or a port that speaks no TLS.",
		Do:    "Test it from outside your network with " + openssl + "."},
	{Class: "connection_lost",
		Means: "The connection ended before an answer.",
		Cause: "The receiver or a proxy before it crashed, was restarted or closes connections early.",
		Do:    "Look in their logs at the time of the attempt; the event may have arrived, and then comes twice."},
	{Class: "bad_response",
		Means: "The answer is not HTTP.",
		Cause: "Another program listens on the URL's port, or a proxy writes broken answers.",
		Do:    "Check the scheme and the port of the URL, and see with curl -v what is answered there."},
	{Class: "too_large",
		Means: "The answer's head or the request's URL is too large.",
		Cause: "Headers and cookies of more than 64 KiB; with GET, an event whose query is very long.",
		Do:    "Answer with fewer headers; in place of GET, use POST."},
	{Class: "cancelled",
		Means: "It was broken off on this side.",
		Cause: "The sender was being stopped, or the webhook was deleted.",
		Do:    "Nothing: it is tried again, unless the webhook was deleted."},
	{Class: "local",
		Means: "This server had no resources for it; nothing was sent.",
		Cause: "It has too many connections open, or too little memory.",
		Do:    "Try again; if that lasts, tell the operator."},
}

// Explain finds the words for a class of error with its reason, both as attempts have them, and the HTTP status; 0:
// there was none. A class that is unknown, as of a newer server, has none.
func Explain(class, reason string, status int) ErrorClass {
	found := ErrorClass{Class: class}
	for _, e := range ErrorClasses {
		if e.Class != class {
			continue
		}
		found = e
		if e.Reason != "" && e.Reason == reason || e.Status != "" && fits(e.Status, status) {
			break
		}
	}
	return found
}

// fits tells whether a status is meant by 404, or 5xx.
func fits(pattern string, status int) bool {
	s := strconv.Itoa(status)
	return pattern == s || pattern == s[:1]+"xx"
}

// String is the words in one line; empty where there are none.
func (e ErrorClass) String() string {
	return strings.TrimSpace(e.Means + " " + e.Cause + " " + e.Do)
}

// ErrorClasses reads what the server has to say of each class of error.
func (c *Client) ErrorClasses(ctx context.Context) ([]ErrorClass, error) {
	var out Page[ErrorClass]
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/error-classes", out: &out})
	return out.Items, err
}
