package signature_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quantfolio/qhook/signature"
)

func ExampleVerifyRequest() {
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // from your configuration

	receive := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
			return
		}
		if err := signature.VerifyRequest(r, body, key); err != nil {
			http.Error(w, "bad signature", http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent) // parse body from here on
	}

	// What the sender does.
	body := `{"id":"1","type":"qap.investor.created"}`
	now := time.Now()
	s := signature.NewSigner(key)
	r := httptest.NewRequest(http.MethodPost, "/hook", strings.NewReader(body))
	r.Header.Set(signature.HeaderQuantfolio, string(s.AppendQuantfolio(nil, []byte(body))))
	r.Header.Set(signature.HeaderID, "1")
	r.Header.Set(signature.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(signature.HeaderSignature, string(s.AppendStandard(nil, "1", now.Unix(), []byte(body))))

	w := httptest.NewRecorder()
	receive(w, r)
	fmt.Println(w.Code)

	forged := r.Clone(r.Context())
	forged.Body = io.NopCloser(strings.NewReader(`{"id":"1","type":"qap.investor.deleted"}`))
	w = httptest.NewRecorder()
	receive(w, forged)
	fmt.Println(w.Code)
	// Output:
	// 204
	// 401
}

func ExampleVerify() {
	content := []byte(`{"id":"1"}`)
	header := signature.Quantfolio([]byte("a typed signing key"), content)
	fmt.Println(signature.Verify("a typed signing key", content, header))
	err := signature.Verify("a typed signing key", []byte(`{"id":"2"}`), header)
	fmt.Println(errors.Is(err, signature.ErrMismatch))
	// Output:
	// <nil>
	// true
}

func ExampleRebuildQuery() {
	// The webhook's URL is https://example.com/hook?tenant=a and the framework
	// hands over decoded parameters only.
	values := url.Values{
		"tenant": {"a"}, "id": {"1"}, "type": {"qap.investor.created"}, "object_id": {"i 1"},
		"object_owner_id": {"a1"}, "owner_id": {"a1"}, "time": {"2023-03-15T12:46:00.000Z"},
	}
	fmt.Println(signature.RebuildQuery("tenant=a", values))
	// Output:
	// tenant=a&id=1&type=qap.investor.created&object_id=i%201&object_owner_id=a1&owner_id=a1&time=2023-03-15T12%3A46%3A00.000Z
}

func ExampleSecretForm() {
	fmt.Println(signature.SecretForm("a typed signing key"))
	// Output:
	// whsec_YSB0eXBlZCBzaWduaW5nIGtleQ==
}
