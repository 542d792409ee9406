package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/receivers"
)

type receiverInput struct {
	Scope
	ID       string `path:"id" maxLength:"64" doc:"Of what the path names."`
	Language string `query:"language" enum:"go,node,python,java,csharp,php" default:"go" doc:"Of the program."`
}

func (a *api) registerReceiver(tag, path string) {
	register(a, operation{
		id: "get-receiver", method: http.MethodGet, path: path, tag: tag,
		summary: "A program that receives and verifies the webhook's requests",
		status:  http.StatusOK, roles: readers, toBound: true, errors: []int{http.StatusNotFound},
	}, a.getReceiver)
}

func (a *api) getReceiver(ctx context.Context, in *receiverInput) (*output[client.ReceiverCode], error) {
	w, err := a.store.WebhookByID(ctx, callerOf(ctx).tenant, in.ID)
	if err != nil {
		return nil, missing("webhook", err)
	}
	l, code, err := receivers.Code(in.Language, w)
	if err != nil {
		return nil, fmt.Errorf("receiver of webhook %s: %w", w.ID, err)
	}
	return &output[client.ReceiverCode]{client.ReceiverCode{Language: l.ID, File: l.File, Code: code}}, nil
}
