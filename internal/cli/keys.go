package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/quantfolio/qhook/client"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" default:"withargs" help:"List the API keys; the keys themselves are kept nowhere."`
	Create keysCreateCmd `cmd:"" help:"Create an API key and print it once."`
	Delete keysDeleteCmd `cmd:"" help:"Delete an API key."`
	Link   keysLinkCmd   `cmd:"" help:"Make a link that signs somebody in to the dashboard, once."`
}

// Help is the long help of keys.
func (keysCmd) Help() string {
	return `Examples:

    export QHOOK_KEY=…                               an admin's or the operator's API key
    qhook keys list
    qhook keys create --role publisher --name "advice service"
    qhook keys delete 0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11
    qhook keys link --role viewer --expires-in 1h    for somebody without a key`
}

type keysListCmd struct {
	server `embed:""`
}

// Run prints the keys.
func (k *keysListCmd) Run(r *run) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	keys, err := c.APIKeys(r.ctx)
	if err != nil {
		return fmt.Errorf("list the API keys: %w", err)
	}
	w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tROLE\tTENANT\tCREATED\tNAME")
	for _, key := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", key.ID, key.Role, key.Tenant, key.CreatedAt.UTC().Format(time.RFC3339), key.Name)
	}
	return w.Flush()
}

type keysCreateCmd struct {
	server  `embed:""`
	Role    string `required:"" enum:"publisher,viewer,admin,advisor" help:"What it may do: publisher, viewer, admin or advisor."`
	Advisor string `help:"Of role advisor: the ID of the advisor whose key it is." placeholder:"ID"`
	Name    string `help:"What it is for."`
}

// Run makes a key and prints it.
func (k *keysCreateCmd) Run(r *run) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	key, err := c.CreateAPIKey(r.ctx, client.NewAPIKey{Tenant: k.Tenant, Role: k.Role, AdvisorID: k.Advisor, Name: k.Name})
	if err != nil {
		return fmt.Errorf("create an API key: %w", err)
	}
	fmt.Fprintf(r.stderr, "API key %s (%s), shown this once:\n", key.ID, key.Role)
	r.printf("%s\n", key.Key)
	return nil
}

type keysDeleteCmd struct {
	server `embed:""`
	ID     string `arg:"" help:"The key's ID, from keys list."`
}

// Run deletes a key.
func (k *keysDeleteCmd) Run(r *run) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	if err := c.DeleteAPIKey(r.ctx, k.ID); err != nil {
		return fmt.Errorf("delete API key %s: %w", k.ID, err)
	}
	r.printf("deleted %s\n", k.ID)
	return nil
}

type keysLinkCmd struct {
	server      `embed:""`
	Role        string        `default:"viewer" enum:"viewer,admin,operator" help:"What whoever opens it may do: viewer, admin or operator."`
	Webhook     string        `help:"Only this webhook." placeholder:"ID"`
	ExpiresIn   time.Duration `default:"15m" help:"How long the link can be opened; at most 24h."`
	SignedInFor time.Duration `default:"12h" help:"How long the sign-in lasts; at most 168h."`
	Name        string        `help:"What it is for."`
}

// Run makes a link and prints it.
func (k *keysLinkCmd) Run(r *run) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	link, err := c.CreateLink(r.ctx, client.NewLink{Role: k.Role, WebhookID: k.Webhook, ExpiresIn: client.Duration(k.ExpiresIn),
		SignedInFor: client.Duration(k.SignedInFor), Name: k.Name})
	if err != nil {
		return fmt.Errorf("make a sign-in link: %w", err)
	}
	fmt.Fprintf(r.stderr, "This link signs in whoever opens it first, until %s:\n", link.ExpiresAt.UTC().Format(time.RFC3339))
	r.printf("%s%s\n", strings.TrimRight(k.URL, "/"), link.Path)
	return nil
}
