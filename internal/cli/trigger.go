package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/event"
)

// server says which server a command talks to, and with which key.
type server struct {
	URL    string `default:"http://127.0.0.1:8080" help:"The server." env:"QHOOK_URL" placeholder:"URL"`
	Key    string `secret:"" help:"An API key." env:"QHOOK_KEY" placeholder:"KEY"`
	Tenant string `help:"The tenant to act for, with the operator's key." env:"QHOOK_TENANT" placeholder:"ID"`
}

func (s server) client() (*client.Client, error) {
	if s.Key == "" {
		return nil, usageError("an API key is needed: --key or QHOOK_KEY")
	}
	return client.New(s.URL, s.Key, client.WithTenant(s.Tenant), client.WithUserAgent("qhook")), nil
}

type triggerCmd struct {
	server        `embed:""`
	Type          string `arg:"" help:"An event type, such as qap.investor.created."`
	ID            string `name:"id" help:"The event's ID, a UUID; the same again delivers nothing new." placeholder:"UUID"`
	ObjectID      string `help:"The affected object, in place of the example's." placeholder:"ID"`
	ObjectOwnerID string `help:"The object's owner, in place of the example's." placeholder:"ID"`
	OwnerID       string `help:"The event's owner, in place of the example's." placeholder:"ID"`
	Data          string `help:"The event's data, a JSON object, in place of the example's." placeholder:"JSON"`
}

// Help is the long help of trigger.
func (triggerCmd) Help() string {
	return `Publishes the catalogue's example of the type, with what you give in its place, and prints the answer.

Examples:

    export QHOOK_KEY=…                               an API key that may publish
    qhook trigger qap.investor.created
    qhook trigger qap.investor.updated --object-id inv-7 --data '{"investor_name":"Jane Doe"}'`
}

// Run publishes the event.
func (t *triggerCmd) Run(r *run) error {
	if t.Data != "" && !json.Valid([]byte(t.Data)) {
		return usageError("--data: not JSON; use an object such as '{\"investor_name\":\"Jane Doe\"}'")
	}
	c, err := t.client()
	if err != nil {
		return err
	}
	known, ok := event.Lookup(t.Type)
	if !ok {
		var names []string
		for _, et := range event.Catalogue() {
			names = append(names, "\n    "+et.Name)
		}
		return usageError("unknown event type " + t.Type + "; there are:" + strings.Join(names, ""))
	}
	x := known.Example(time.Now())
	e := client.Event{ID: t.ID, Type: x.Type, ObjectID: x.ObjectID, ObjectOwnerID: x.ObjectOwnerID, OwnerID: x.OwnerID,
		Data: x.Data}
	replace(&e.ObjectID, t.ObjectID)
	replace(&e.ObjectOwnerID, t.ObjectOwnerID)
	replace(&e.OwnerID, t.OwnerID)
	if t.Data != "" {
		e.Data = json.RawMessage(t.Data)
	}
	p, err := c.Publish(r.ctx, e)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	r.printf("accepted %s %s, deliveries: %d\n", p.Type, p.ID, p.Deliveries)
	if p.Deliveries == 0 {
		r.printf("No enabled webhook asks for it.\n")
	}
	return nil
}

func replace(field *string, value string) {
	if value != "" {
		*field = value
	}
}
