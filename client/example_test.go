package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/quantfolio/qhook/client"
)

func ExampleClient_Publish() {
	// In place of a server: qhook serve.
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"id":"0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11","type":"qap.investor.created","time":"2023-03-15T12:46:00.000Z","deliveries":2}`)
	}))
	defer srv.Close()

	c := client.New(srv.URL, "an API key")
	p, err := c.Publish(context.Background(), client.Event{
		ID:   "0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11", // yours: publishing again with it delivers nothing new
		Type: "qap.investor.created", ObjectID: "investor-1", ObjectOwnerID: "advisor-1", OwnerID: "advisor-1",
		Data: json.RawMessage(`{"investor_name":"Jane Doe"}`),
	})
	var problem *client.Problem
	switch {
	case errors.As(err, &problem):
		fmt.Println("refused:", problem)
	case err != nil:
		fmt.Println("no answer, publish again with the same ID:", err)
	default:
		fmt.Println("accepted, deliveries:", p.Deliveries)
	}
	// Output: accepted, deliveries: 2
}
