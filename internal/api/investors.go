package api

import (
	"context"
	"net/http"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

func viewInvestor(x *store.Investor) client.Investor {
	return client.Investor{
		ID: x.ID, AdvisorID: x.AdvisorID, Type: x.Type, Name: x.Name, Email: x.Email, Country: x.Country, Reference: x.Reference,
		CreatedAt: client.At(x.CreatedAt), UpdatedAt: client.At(x.UpdatedAt), DeletedAt: client.At(x.DeletedAt),
	}
}

func mergeInvestor(x *store.Investor, raw []byte) error {
	o, err := parseObject(raw, "an investor")
	if err != nil {
		return err
	}
	textMember(o, "advisor_id", &x.AdvisorID)
	textMember(o, "investor_type", &x.Type)
	textMember(o, "investor_name", &x.Name)
	textMember(o, "email", &x.Email)
	textMember(o, "country", &x.Country)
	textMember(o, "reference", &x.Reference)
	o.finish()
	return o.v.Err()
}

type listInvestorsInput struct {
	Scope
	client.InvestorQuery
}

func (a *api) registerInvestors() {
	const all, one = "/v1/investors", "/v1/investors/{id}"
	changed := []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	register(a, operation{
		id: "create-investor", method: http.MethodPost, path: all, tag: advisoryTag, summary: "Make an investor",
		text: "Triggers qap.investor.created.", status: http.StatusCreated, roles: advisoryWriters, body: client.NewInvestor{},
		errors: []int{http.StatusConflict},
	}, a.createInvestor)
	register(a, operation{
		id: "list-investors", method: http.MethodGet, path: all, tag: advisoryTag, summary: "List investors",
		status: http.StatusOK, roles: advisoryReaders, errors: []int{http.StatusBadRequest},
	}, a.listInvestors)
	register(a, operation{
		id: "get-investor", method: http.MethodGet, path: one, tag: advisoryTag, summary: "Read an investor",
		status: http.StatusOK, roles: advisoryReaders, errors: []int{http.StatusNotFound},
	}, a.getInvestor)
	register(a, operation{
		id: "update-investor", method: http.MethodPatch, path: one, tag: advisoryTag, summary: "Change an investor",
		text:   "A JSON merge patch: what is left out stays as it is, null is empty. Triggers qap.investor.updated with the names of what changed; when nothing did, nothing.",
		status: http.StatusOK, roles: advisoryWriters, body: client.NewInvestor{}, errors: changed,
	}, a.updateInvestor)
	register(a, operation{
		id: "delete-investor", method: http.MethodDelete, path: one, tag: advisoryTag,
		summary: "Soft-delete or permanently delete an investor",
		text:    "Soft: hidden with its advice sessions, until it is restored or its time is over; triggers qap.investor.soft_deleted. Permanent: gone with its advice sessions and their reports; triggers qap.investor.advice.deleted for each session, then qap.investor.deleted.",
		status:  http.StatusNoContent, roles: advisoryWriters, errors: changed,
	}, a.deleteInvestor)
	register(a, operation{
		id: "restore-investor", method: http.MethodPost, path: one + "/restore", tag: advisoryTag,
		summary: "Restore a soft-deleted investor",
		text:    "Triggers qap.investor.updated.", status: http.StatusOK, roles: advisoryWriters, errors: changed,
	}, a.restoreInvestor)
}

func (a *api) createInvestor(ctx context.Context, in *createInput) (*objectOutput[client.Investor], error) {
	var x store.Investor
	if err := advisory.InvalidInvestor(mergeInvestor(&x, in.RawBody), actor(ctx), &x); err != nil {
		return nil, err
	}
	x, err := a.advisory.CreateInvestor(ctx, actor(ctx), x, in.once("investors", string(in.RawBody)))
	if err != nil {
		return nil, missing("investor", err)
	}
	return madeObject(viewInvestor(&x), x.Version, "/v1/investors/"+x.ID), nil
}

func (a *api) listInvestors(ctx context.Context, in *listInvestorsInput) (
	*output[client.Page[client.Investor]], error) {
	who := actor(ctx)
	f := store.InvestorFilter{AdvisorID: in.AdvisorID, Type: in.Type, Reference: in.Reference,
		Presence: presenceOf(in.Deleted)}
	hash := listHash("investors", who.Tenant, in.InvestorQuery, who.Advisor)
	return listObjects(client.Paging{Cursor: in.Cursor, Limit: in.Limit}, hash,
		func(after int64, limit int) ([]store.Investor, error) {
			return a.advisory.Investors(ctx, who, f, after, limit)
		}, func(x *store.Investor) int64 { return x.Num }, viewInvestor)
}

func (a *api) getInvestor(ctx context.Context, in *readInput) (*objectOutput[client.Investor], error) {
	return showInvestor(a.advisory.Investor(ctx, actor(ctx), in.ID, alsoDeleted(in.Deleted)))
}

func (a *api) updateInvestor(ctx context.Context, in *patchInput) (*objectOutput[client.Investor], error) {
	edit := func(x *store.Investor) error { return mergeInvestor(x, in.RawBody) }
	return showInvestor(a.advisory.UpdateInvestor(ctx, actor(ctx), in.ID, in.match(), edit))
}

func (a *api) restoreInvestor(ctx context.Context, in *actInput) (*objectOutput[client.Investor], error) {
	return showInvestor(a.advisory.RestoreInvestor(ctx, actor(ctx), in.ID, in.match(),
		in.once("restore investor", in.ID)))
}

func (a *api) deleteInvestor(ctx context.Context, in *removeInput) (*None, error) {
	remove := a.advisory.SoftDeleteInvestor
	if in.Permanent {
		remove = a.advisory.DeleteInvestor
	}
	if err := remove(ctx, actor(ctx), in.ID, in.match()); err != nil {
		return nil, missing("investor", err)
	}
	return nil, nil
}

func showInvestor(x store.Investor, err error) (*objectOutput[client.Investor], error) {
	if err != nil {
		return nil, missing("investor", err)
	}
	return showObject(viewInvestor(&x), x.Version), nil
}
