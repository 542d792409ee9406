package api

import (
	"context"
	"net/http"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

func viewAdvisor(x *store.Advisor) client.Advisor {
	return client.Advisor{ID: x.ID, Name: x.Name, Email: x.Email, CreatedAt: client.At(x.CreatedAt),
		UpdatedAt: client.At(x.UpdatedAt)}
}

func mergeAdvisor(x *store.Advisor, raw []byte) error {
	o, err := parseObject(raw, "an advisor")
	if err != nil {
		return err
	}
	textMember(o, "name", &x.Name)
	textMember(o, "email", &x.Email)
	o.finish()
	return o.v.Err()
}

func (a *api) registerAdvisors() {
	const all, one = "/v1/advisors", "/v1/advisors/{id}"
	register(a, operation{
		id: "create-advisor", method: http.MethodPost, path: all, tag: advisoryTag, summary: "Make an advisor",
		text:   "Triggers no event. An API key for the advisor is made with POST /v1/api-keys.",
		status: http.StatusCreated, roles: admins, body: client.NewAdvisor{}, errors: []int{http.StatusConflict},
	}, a.createAdvisor)
	register(a, operation{
		id: "list-advisors", method: http.MethodGet, path: all, tag: advisoryTag, summary: "List advisors",
		status: http.StatusOK, roles: advisoryReaders, errors: []int{http.StatusBadRequest},
	}, a.listAdvisors)
	register(a, operation{
		id: "get-advisor", method: http.MethodGet, path: one, tag: advisoryTag, summary: "Read an advisor",
		status: http.StatusOK, roles: advisoryReaders, errors: []int{http.StatusNotFound},
	}, a.getAdvisor)
	register(a, operation{
		id: "update-advisor", method: http.MethodPatch, path: one, tag: advisoryTag, summary: "Change an advisor",
		text: "Triggers no event.", status: http.StatusOK, roles: admins, body: client.NewAdvisor{},
		errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed},
	}, a.updateAdvisor)
	register(a, operation{
		id: "delete-advisor", method: http.MethodDelete, path: one, tag: advisoryTag,
		summary: "Delete an advisor who has no investors, for good",
		text:    "The advisor's API keys end. Triggers no event.", status: http.StatusNoContent, roles: admins,
		errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed},
	}, a.deleteAdvisor)
}

func (a *api) createAdvisor(ctx context.Context, in *createInput) (*objectOutput[client.Advisor], error) {
	var x store.Advisor
	if err := advisory.InvalidAdvisor(mergeAdvisor(&x, in.RawBody), &x); err != nil {
		return nil, err
	}
	x, err := a.advisory.CreateAdvisor(ctx, actor(ctx), x, in.once("advisors", string(in.RawBody)))
	if err != nil {
		return nil, missing("advisor", err)
	}
	return madeObject(viewAdvisor(&x), x.Version, "/v1/advisors/"+x.ID), nil
}

func (a *api) listAdvisors(ctx context.Context, in *pageInput) (*output[client.Page[client.Advisor]], error) {
	who := actor(ctx)
	return listObjects(in.Paging, listHash("advisors", who.Tenant, in.Paging),
		func(after int64, limit int) ([]store.Advisor, error) {
			return a.advisory.Advisors(ctx, who, after, limit)
		}, func(x *store.Advisor) int64 { return x.Num }, viewAdvisor)
}

func (a *api) getAdvisor(ctx context.Context, in *byID) (*objectOutput[client.Advisor], error) {
	x, err := a.advisory.Advisor(ctx, actor(ctx), in.ID)
	if err != nil {
		return nil, missing("advisor", err)
	}
	return showObject(viewAdvisor(&x), x.Version), nil
}

func (a *api) updateAdvisor(ctx context.Context, in *patchInput) (*objectOutput[client.Advisor], error) {
	edit := func(x *store.Advisor) error { return mergeAdvisor(x, in.RawBody) }
	x, err := a.advisory.UpdateAdvisor(ctx, actor(ctx), in.ID, in.match(), edit)
	if err != nil {
		return nil, missing("advisor", err)
	}
	return showObject(viewAdvisor(&x), x.Version), nil
}

func (a *api) deleteAdvisor(ctx context.Context, in *deleteInput) (*None, error) {
	err := a.advisory.DeleteAdvisor(ctx, actor(ctx), in.ID, IfMatch{in.IfMatch}.match())
	if err != nil {
		return nil, missing("advisor", err)
	}
	return nil, nil
}
