package api

import (
	"context"
	"net/http"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

func viewSession(x *store.AdviceSession) client.AdviceSession {
	v := client.AdviceSession{
		ID: x.ID, InvestorID: x.InvestorID, Title: x.Title, Objective: x.Objective, RiskProfile: x.RiskProfile,
		HorizonYears: x.HorizonYears, Recommendation: x.Recommendation, Status: "open",
		CreatedAt: client.At(x.CreatedAt), UpdatedAt: client.At(x.UpdatedAt), CompletedAt: client.At(x.CompletedAt), DeletedAt: client.At(x.DeletedAt),
	}
	if x.Completed() {
		v.Status = "completed"
	}
	return v
}

func mergeSession(x *store.AdviceSession, raw []byte) error {
	o, err := parseObject(raw, "an advice session")
	if err != nil {
		return err
	}
	textMember(o, "title", &x.Title)
	textMember(o, "objective", &x.Objective)
	textMember(o, "risk_profile", &x.RiskProfile)
	if n, given, _ := take[int](o, "horizon_years", "a whole number"); given {
		x.HorizonYears = n
	}
	textMember(o, "recommendation", &x.Recommendation)
	o.finish()
	return o.v.Err()
}

type listSessionsInput struct {
	Scope
	client.AdviceSessionQuery
	ID string `path:"id" maxLength:"64" doc:"Of what the path names."`
}

func (a *api) registerSessions() {
	const all, one = "/v1/investors/{id}/advice-sessions", "/v1/advice-sessions/{id}"
	changed := []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	register(a, operation{
		id: "create-advice-session", method: http.MethodPost, path: all, tag: advisoryTag,
		summary: "Make an advice session of an investor",
		text:    "Triggers qap.investor.advice.created.", status: http.StatusCreated, roles: advisoryWriters, body: client.NewAdviceSession{},
		errors: []int{http.StatusNotFound, http.StatusConflict},
	}, a.createSession)
	register(a, operation{
		id: "list-advice-sessions", method: http.MethodGet, path: all, tag: advisoryTag,
		summary: "List an investor's advice sessions",
		status:  http.StatusOK, roles: advisoryReaders, errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}, a.listSessions)
	register(a, operation{
		id: "get-advice-session", method: http.MethodGet, path: one, tag: advisoryTag,
		summary: "Read an advice session",
		status:  http.StatusOK, roles: advisoryReaders, errors: []int{http.StatusNotFound},
	}, a.getSession)
	register(a, operation{
		id: "update-advice-session", method: http.MethodPatch, path: one, tag: advisoryTag,
		summary: "Fill in an advice session",
		text:    "A JSON merge patch: what is left out stays as it is, null is empty. Triggers no event. A completed session cannot change.",
		status:  http.StatusOK, roles: advisoryWriters, body: client.NewAdviceSession{}, errors: changed,
	}, a.updateSession)
	register(a, operation{
		id: "complete-advice-session", method: http.MethodPost, path: one + "/complete", tag: advisoryTag,
		summary: "Complete an advice session, once",
		text:    "Triggers qap.investor.advice.completed.", status: http.StatusOK, roles: advisoryWriters, errors: changed,
	}, a.completeSession)
	register(a, operation{
		id: "restore-advice-session", method: http.MethodPost, path: one + "/restore", tag: advisoryTag,
		summary: "Restore a soft-deleted advice session",
		text:    "Triggers qap.investor.updated of the investor, whose advice sessions changed, with the session's ID in data.",
		status:  http.StatusOK, roles: advisoryWriters, errors: changed,
	}, a.restoreSession)
	register(a, operation{
		id: "delete-advice-session", method: http.MethodDelete, path: one, tag: advisoryTag,
		summary: "Soft-delete or permanently delete an advice session",
		text:    "Soft: hidden until it is restored or its time is over; triggers qap.investor.advice.soft_deleted. Permanent: gone with its reports; triggers qap.investor.advice.deleted.",
		status:  http.StatusNoContent, roles: advisoryWriters, errors: changed,
	}, a.deleteSession)
}

func (a *api) createSession(ctx context.Context, in *createInInput) (*objectOutput[client.AdviceSession], error) {
	var x store.AdviceSession
	if err := advisory.InvalidSession(mergeSession(&x, in.RawBody), &x); err != nil {
		return nil, err
	}
	x, err := a.advisory.CreateSession(ctx, actor(ctx), in.ID, x, in.once("advice sessions", in.ID, string(in.RawBody)))
	if err != nil {
		return nil, missing("investor", err)
	}
	return madeObject(viewSession(&x), x.Version, "/v1/advice-sessions/"+x.ID), nil
}

func (a *api) listSessions(ctx context.Context, in *listSessionsInput) (
	*output[client.Page[client.AdviceSession]], error) {
	who := actor(ctx)
	f := store.SessionFilter{InvestorID: in.ID, Presence: presenceOf(in.Deleted)}
	if in.Status != "" {
		completed := in.Status == "completed"
		f.Completed = &completed
	}
	hash := listHash("advice sessions", who.Tenant, in.AdviceSessionQuery, in.ID)
	return listObjects(client.Paging{Cursor: in.Cursor, Limit: in.Limit}, hash,
		func(after int64, limit int) ([]store.AdviceSession, error) {
			found, err := a.advisory.Sessions(ctx, who, f, after, limit)
			if err != nil {
				return nil, missing("investor", err)
			}
			return found, nil
		}, func(x *store.AdviceSession) int64 { return x.Num }, viewSession)
}

func (a *api) getSession(ctx context.Context, in *readInput) (*objectOutput[client.AdviceSession], error) {
	return showSession(a.advisory.Session(ctx, actor(ctx), in.ID, alsoDeleted(in.Deleted)))
}

func (a *api) updateSession(ctx context.Context, in *patchInput) (*objectOutput[client.AdviceSession], error) {
	edit := func(x *store.AdviceSession) error { return mergeSession(x, in.RawBody) }
	return showSession(a.advisory.UpdateSession(ctx, actor(ctx), in.ID, in.match(), edit))
}

func (a *api) completeSession(ctx context.Context, in *actInput) (*objectOutput[client.AdviceSession], error) {
	return showSession(a.advisory.CompleteSession(ctx, actor(ctx), in.ID, in.match(), in.once("complete", in.ID)))
}

func (a *api) restoreSession(ctx context.Context, in *actInput) (*objectOutput[client.AdviceSession], error) {
	return showSession(a.advisory.RestoreSession(ctx, actor(ctx), in.ID, in.match(),
		in.once("restore advice session", in.ID)))
}

func (a *api) deleteSession(ctx context.Context, in *removeInput) (*None, error) {
	remove := a.advisory.SoftDeleteSession
	if in.Permanent {
		remove = a.advisory.DeleteSession
	}
	if err := remove(ctx, actor(ctx), in.ID, in.match()); err != nil {
		return nil, missing("advice session", err)
	}
	return nil, nil
}

func showSession(x store.AdviceSession, err error) (*objectOutput[client.AdviceSession], error) {
	if err != nil {
		return nil, missing("advice session", err)
	}
	return showObject(viewSession(&x), x.Version), nil
}
