package api

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wrong are requests that people and programs get wrong: who, method, target, body.
var wrong = []string{
	`default/viewer GET /v1/webhooks?limit=0`,
	`default/viewer GET /v1/webhooks?limit=many`,
	`default/viewer GET /v1/webhooks?page=2`,
	`default/viewer GET /v1/webhooks?state=broken`,
	`default/viewer GET /v1/webhooks?cursor=abc`,
	`default/viewer GET /v1/webhooks/abc`,
	`default/viewer GET /v1/webhook`,
	`default/viewer PUT /v1/webhooks/abc {}`,
	`default/viewer POST /v1/webhooks {}`,
	`default/admin POST /v1/webhooks`,
	`default/admin POST /v1/webhooks {`,
	`default/admin POST /v1/webhooks []`,
	`default/admin POST /v1/webhooks "a"`,
	`default/admin POST /v1/webhooks {}`,
	`default/admin POST /v1/webhooks {"url":"example.com/hook","event_types":["**"]}`,
	`default/admin POST /v1/webhooks {"url":"http://example.com/hook","event_types":["**"]}`,
	`default/admin POST /v1/webhooks {"url":"https://user:pass@example.com/","event_types":["**"]}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com/#a","event_types":["**"]}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":"**"}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":[]}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["qap.*"]}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["investor.created"]}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","eventTypes":["**"]}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"method":"PUT"}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"method":"post"}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"enabled":"yes"}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"timeout":15}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"timeout":"15"}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"timeout":"5m"}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"retry_schedule":["soon"]}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"auth":"Bearer x"}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"auth":{"type":"oauth"}}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"auth":{"type":"bearer"}}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"auth":{"type":"bearer","password":"x"}}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"headers":{"Host":"x"}}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"headers":{"X A":"x","X-B":"a\nb"}}`,
	`default/admin POST /v1/webhooks {"url":"https://example.com","event_types":["**"],"signing_key":"whsec_"}`,
	`default/admin POST /v1/api-keys {"role":"viewer","networks":["10.0.0.1/99"]}`,
	`default/publisher POST /v1/events {}`,
	`default/publisher POST /v1/events {"type":"qap.investor.create","object_id":"i","object_owner_id":"a","owner_id":"o"}`,
	`default/publisher POST /v1/events {"type":"qap.investor.created","object_id":7,"object_owner_id":"a","owner_id":"o"}`,
	`default/publisher POST /v1/events {"type":"qap.investor.created","objectId":"i","object_owner_id":"a","owner_id":"o"}`,
	`default/publisher POST /v1/events {"type":"qap.investor.created","object_id":"i","object_owner_id":"a","owner_id":"o","time":"yesterday"}`,
	`default/publisher POST /v1/events {"type":"qap.investor.created","object_id":"i","object_owner_id":"a","owner_id":"o","data":[1]}`,
	`default/publisher POST /v1/events {"type":"qap.investor.created","object_id":"i","object_owner_id":"a","owner_id":"o","id":"42"}`,
	`default/publisher POST /v1/events [{"type":"qap.investor.created"}]`,
	`default/publisher POST /v1/events/batch {"events":[]}`,
	`default/publisher POST /v1/events/batch [{"type":"qap.investor.created"}]`,
	`default/publisher GET /v1/events`,
	`default/viewer GET /v1/events?since=yesterday`,
	`default/viewer GET /v1/events?event_type=investor`,
	`default/viewer GET /v1/events?type=qap.investor.created`,
	`default/viewer GET /v1/deliveries?status=failed`,
	`default/viewer GET /v1/deliveries?last_status=abc`,
	`default/viewer GET /v1/deliveries/d_1`,
	`default/admin POST /v1/deliveries/retry {"id":"d_1"}`,
	`default/admin POST /v1/api-keys {"role":"root"}`,
	`default/admin POST /v1/api-keys {"role":"operator"}`,
	`default/admin POST /v1/api-keys {"role":"viewer","expires_at":"2020-01-01"}`,
	`default/admin POST /v1/links {"role":"publisher","expires_in":"1w"}`,
	`default/admin GET /v1/tenants`,
	`operator POST /v1/tenants {"id":"Acme GmbH"}`,
	`default/admin POST /v1/investors {"name":"Jane"}`,
	`default/admin GET /v1/stats?period=1y`,
}

// TestWrongInputs keeps what is answered to wrong requests, so that whoever changes it reads it.
func TestWrongInputs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var b strings.Builder
	for _, line := range wrong {
		who, rest, _ := strings.Cut(line, " ")
		method, rest, _ := strings.Cut(rest, " ")
		target, body, _ := strings.Cut(rest, " ")
		p := r.call(who, method, target, body)
		fmt.Fprintf(&b, "%s\n    %d %s\n", line, p.code, strings.TrimSpace(p.body))
		if p.code < 400 || p.code >= 500 {
			t.Errorf("%s = %d %s, want a refusal", line, p.code, p.body)
		}
	}
	golden := filepath.Join("testdata", "wrong.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != b.String() {
		t.Errorf("what is answered is not %s (%v); if the change is wanted, run go test ./internal/api -update:\n%s",
			golden, err, b.String())
	}
}
