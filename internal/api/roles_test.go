package api

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// mayCall is who may make each call, by its ID in the document: the roles of keys, of which the operator has each.
var mayCall = map[string]string{
	"publish-event": "publisher admin", "publish-events": "publisher admin",
	"list-events": "viewer admin", "get-event": "viewer admin", "list-event-types": "viewer admin",
	"list-deliveries": "viewer admin", "count-deliveries": "viewer admin", "get-delivery": "viewer admin",
	"list-error-classes": "publisher viewer admin advisor", "retry-delivery": "admin", "retry-deliveries": "admin",
	"watch-attempts": "viewer admin", "export-tenant": "",
	"list-webhooks": "viewer admin", "get-webhook": "viewer admin", "get-receiver": "viewer admin",
	"create-webhook": "admin", "update-webhook": "admin", "delete-webhook": "admin", "test-webhook": "admin",
	"preview-webhook": "admin", "get-stats": "viewer admin", "list-webhook-stats": "viewer admin",
	"create-tenant": "", "update-tenant": "", "list-tenants": "", "end-tenant": "", "restore-tenant": "",
	"create-api-key": "admin", "list-api-keys": "admin", "update-api-key": "admin", "delete-api-key": "admin",
	"create-link": "admin", "sign-in": "viewer admin advisor", "get-sign-in": "viewer admin advisor",
	"sign-out":       "viewer admin advisor",
	"create-advisor": "admin", "update-advisor": "admin", "delete-advisor": "admin",
	"list-advisors": "viewer admin advisor", "get-advisor": "viewer admin advisor",
	"list-investors": "viewer admin advisor", "get-investor": "viewer admin advisor", "create-investor": "admin advisor",
	"update-investor": "admin advisor", "delete-investor": "admin advisor", "restore-investor": "admin advisor",
	"list-advice-sessions": "viewer admin advisor", "get-advice-session": "viewer admin advisor",
	"create-advice-session": "admin advisor", "update-advice-session": "admin advisor",
	"complete-advice-session": "admin advisor", "restore-advice-session": "admin advisor",
	"delete-advice-session": "admin advisor",
	"list-reports":          "viewer admin advisor", "get-report": "viewer admin advisor", "create-report": "admin advisor",
}

// callers are keys and sign-ins of every role.
func (r *rig) callers() map[string]string {
	advisor := r.must(201, admin, "POST", "/v1/advisors", `{"name":"Ann"}`).str("id")
	r.keys["advisor"] = r.must(201, admin, "POST", "/v1/api-keys",
		`{"role":"advisor","advisor_id":"`+advisor+`"}`).str("key")
	roles := map[string]string{publisher: "publisher", viewer: "viewer", admin: "admin", "advisor": "advisor",
		operator: "operator"}
	for _, who := range []string{viewer, admin, "advisor", operator} {
		r.keys["signed in "+who] = r.must(201, who, "POST", "/v1/sign-in", "").str("key")
		roles["signed in "+who] = roles[who]
	}
	r.link("a link of a viewer", admin, `{"role":"viewer"}`)
	r.keys["signed in by link"] = r.must(201, "a link of a viewer", "POST", "/v1/sign-in", "").str("key")
	roles["signed in by link"] = "viewer"
	return roles
}

// TestRoles: every operation that the document has is open to the roles that the table names and to nobody else, by key
// and by sign-in; one that is not in the table fails.
func TestRoles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal([]byte(r.must(200, "", "GET", "/openapi.json", "").body), &doc); err != nil {
		t.Fatal(err)
	}
	type operation struct{ id, method, path string }
	var all []operation
	for path, methods := range doc.Paths {
		path = strings.NewReplacer("{id}", "7d0f4a52-3a51-4c1b-9a7e-0c6d1f1f2a10", "{report}",
			"7d0f4a52-3a51-4c1b-9a7e-0c6d1f1f2a10").Replace(path)
		for method, op := range methods {
			all = append(all, operation{op.OperationID, strings.ToUpper(method), path})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { // signing out comes last
		return strings.Compare(strings.Replace(a.id, "sign-out", "z", 1), strings.Replace(b.id, "sign-out", "z", 1))
	})
	roles := r.callers()
	for _, op := range all {
		list, known := mayCall[op.id]
		if !known {
			t.Errorf("nobody says who may call %s", op.id)
		}
		if p := r.call("", op.method, op.path, "{}"); p.code != 401 {
			t.Errorf("%s without a key = %d, want 401", op.id, p.code)
		}
		for who, role := range roles {
			want := role == "operator" || slices.Contains(strings.Fields(list), role)
			switch signedIn := strings.HasPrefix(who, "signed in"); op.id {
			case "create-api-key", "update-api-key":
				want = want && (!signedIn || role == "operator") // it would outlive the sign-in
			case "sign-in":
				want = want && !signedIn
			case "sign-out":
				want = want && signedIn
			}
			p := r.once(who, op.method, op.path)
			if (p.code != 403) != want || p.code == 401 || p.code >= 500 {
				t.Errorf("%s as %s = %d %s, want it allowed: %v", op.id, who, p.code, p.body, want)
			}
			if p.code >= 400 {
				r.isProblem(p)
			}
		}
	}
	if len(all) < 50 || len(all) != len(mayCall) {
		t.Errorf("%d operations were tried, the table has %d", len(all), len(mayCall))
	}
}

// once makes a call that ends although it may be a stream.
func (r *rig) once(who, method, path string) reply {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	if path != livePath {
		return r.call(who, method, path, "{}")
	}
	req := httptest.NewRequest(method, path, nil).WithContext(ctx)
	req.Header.Set("Authorization", "Bearer "+r.keys[who])
	w := &ending{httptest.NewRecorder(), cancel}
	r.h.ServeHTTP(w, req)
	out := reply{w.Code, w.Header(), w.Body.String(), nil}
	_ = json.Unmarshal(w.Body.Bytes(), &out.json)
	return out
}

// ending ends the request as soon as its answer begins.
type ending struct {
	*httptest.ResponseRecorder
	end func()
}

func (e *ending) Write(b []byte) (int, error) {
	defer e.end()
	return e.ResponseRecorder.Write(b)
}
