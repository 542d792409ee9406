package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

func viewReport(r *store.Report) client.Report {
	return client.Report{ID: r.ID, SessionID: r.SessionID, ContentType: advisory.ContentType, Size: r.Size,
		CreatedAt: client.At(r.CreatedAt),
		URL:       reportPath(r)}
}

func reportPath(r *store.Report) string {
	return "/v1/advice-sessions/" + r.SessionID + "/reports/" + r.ID
}

type listReportsInput struct {
	Scope
	client.Paging
	ID string `path:"id" maxLength:"64" doc:"Of what the path names."`
}

type readReportInput struct {
	Scope
	ID     string `path:"id" maxLength:"64" doc:"Of what the path names."`
	Report string `path:"report" maxLength:"64" doc:"Of the report."`
}

// fileOutput is a document to download.
type fileOutput struct {
	ContentType        string `header:"Content-Type"`
	ContentDisposition string `header:"Content-Disposition"`
	Body               []byte
}

func (a *api) registerReports() {
	const all, one = "/v1/advice-sessions/{id}/reports", "/v1/advice-sessions/{id}/reports/{report}"
	register(a, operation{
		id: "create-report", method: http.MethodPost, path: all, tag: advisoryTag,
		summary: "Make a report of a completed advice session",
		text:    "A PDF. Triggers qap.investor.advice.report.created.", status: http.StatusCreated, roles: advisoryWriters,
		errors: []int{http.StatusNotFound, http.StatusConflict},
	}, a.createReport)
	register(a, operation{
		id: "list-reports", method: http.MethodGet, path: all, tag: advisoryTag,
		summary: "List the reports of an advice session",
		status:  http.StatusOK, roles: advisoryReaders, errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}, a.listReports)
	register(a, operation{
		id: "get-report", method: http.MethodGet, path: one, tag: advisoryTag, summary: "Download a report",
		status: http.StatusOK, roles: advisoryReaders, errors: []int{http.StatusNotFound},
	}, a.getReport)
	ok := a.doc.OpenAPI().Paths[one].Get.Responses["200"]
	ok.Content = map[string]*huma.MediaType{advisory.ContentType: {Schema: &huma.Schema{Type: "string",
		Format: "binary"}}}
}

// createReportInput has no body.
type createReportInput struct {
	Scope
	Idempotency
	ID string `path:"id" maxLength:"64" doc:"Of what the path names."`
}

func (a *api) createReport(ctx context.Context, in *createReportInput) (*objectOutput[client.Report], error) {
	r, err := a.advisory.CreateReport(ctx, actor(ctx), in.ID, in.once("reports", in.ID))
	if err != nil {
		return nil, missing("advice session", err)
	}
	return madeObject(viewReport(&r), r.Version, reportPath(&r)), nil
}

func (a *api) listReports(ctx context.Context, in *listReportsInput) (*output[client.Page[client.Report]], error) {
	who := actor(ctx)
	return listObjects(in.Paging, listHash("reports", who.Tenant, in.Paging, in.ID),
		func(after int64, limit int) ([]store.Report, error) {
			found, err := a.advisory.Reports(ctx, who, in.ID, after, limit)
			if err != nil {
				return nil, missing("advice session", err)
			}
			return found, nil
		}, func(r *store.Report) int64 { return r.Num }, viewReport)
}

func (a *api) getReport(ctx context.Context, in *readReportInput) (*fileOutput, error) {
	r, err := a.advisory.Report(ctx, actor(ctx), in.ID, in.Report)
	if err != nil {
		return nil, missing("report", err)
	}
	return &fileOutput{advisory.ContentType, `attachment; filename="report-` + r.ID + `.pdf"`, r.Content}, nil
}
