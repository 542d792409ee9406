package cli

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/quantfolio/qhook/client"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" default:"withargs" help:"List the API keys; the keys themselves are kept nowhere."`
	Create keysCreateCmd `cmd:"" help:"Create an API key and print it once."`
	Update keysUpdateCmd `cmd:"" help:"Change the name, the end or the networks of an API key."`
	Delete keysDeleteCmd `cmd:"" help:"End an API key, a link or a sign-in, and all that was made with it."`
	Link   keysLinkCmd   `cmd:"" help:"Make a link that signs somebody in to the dashboard, once."`
}

// Help is the long help of keys.
func (keysCmd) Help() string {
	return `Examples:

    export QHOOK_KEY=…                               an admin's or the operator's API key
    qhook keys list
    qhook keys list --kind sign_in                   who is signed in; also --kind link
    qhook keys create --role publisher --name "advice service" --network 192.0.2.0/24
    qhook keys update 0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11 --expires-in 720h
    qhook keys delete 0190d1f4-7a30-7c3e-9b7e-0d3c1c5a8e11
    qhook keys delete --keep-keys 0190d1f4-…         it was replaced: the keys made with it stay
    qhook keys link --role viewer --expires-in 1h    for somebody without a key`
}

type keysListCmd struct {
	server `embed:""`
	Kind   string `default:"api_key" enum:"api_key,link,sign_in" help:"What is listed: api_key, link or sign_in."`
}

// Run prints the keys.
func (k *keysListCmd) Run(r *run) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	keys, err := client.All(func(cursor string) (client.Page[client.APIKey], error) {
		return c.APIKeys(r.ctx, k.Kind, cursor)
	})
	if err != nil {
		return fmt.Errorf("list the API keys: %w", err)
	}
	w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tROLE\tTENANT\tCREATED\tEXPIRES\tLAST USED\tFROM\tNETWORKS\tMADE BY\tNAME")
	for _, key := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", key.ID, key.Role, orDash(key.Tenant),
			timeOrDash(key.CreatedAt),
			timeOrDash(key.ExpiresAt), timeOrDash(key.UsedAt), orDash(key.UsedFrom), orDash(strings.Join(key.Networks,
				",")),
			orDash(key.MadeBy), key.Name)
	}
	return w.Flush()
}

func orDash(s string) string { return cmp.Or(s, "-") }

func timeOrDash(t client.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

type keysCreateCmd struct {
	server  `embed:""`
	Role    string `required:"" enum:"publisher,viewer,admin,advisor" help:"What it may do: publisher, viewer, admin or advisor."`
	Advisor string `help:"Of role advisor: the ID of the advisor whose key it is." placeholder:"ID"`
	Name    string `help:"What it is for."`

	ExpiresIn time.Duration `help:"How long it is good; without it, always."`
	Network   []string      `help:"A network from which it is good, like 192.0.2.0/24; without one, from anywhere. Repeatable."`
}

// Run makes a key and prints it.
func (k *keysCreateCmd) Run(r *run) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	in := client.NewAPIKey{Tenant: k.Tenant, Role: k.Role, AdvisorID: k.Advisor, Name: k.Name, Networks: k.Network}
	if k.ExpiresIn != 0 {
		in.ExpiresAt = time.Now().Add(k.ExpiresIn)
	}
	key, err := c.CreateAPIKey(r.ctx, in)
	if err != nil {
		return fmt.Errorf("create an API key: %w", err)
	}
	fmt.Fprintf(r.stderr, "API key %s (%s), shown this once:\n", key.ID, key.Role)
	r.printf("%s\n", key.Key)
	return nil
}

type keysUpdateCmd struct {
	server    `embed:""`
	ID        string         `arg:"" help:"The key's ID, from keys list."`
	Name      *string        `help:"What it is for."`
	ExpiresIn *time.Duration `help:"How long from now on it is good; 0: always."`
	Network   []string       `help:"A network from which it is good; any: from anywhere. Repeatable."`
}

// Run changes a key.
func (k *keysUpdateCmd) Run(r *run) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	in := client.APIKeyChange{Name: k.Name}
	if k.ExpiresIn != nil {
		in.ExpiresAt = new(time.Time)
		if *k.ExpiresIn != 0 {
			*in.ExpiresAt = time.Now().Add(*k.ExpiresIn)
		}
	}
	if len(k.Network) == 1 && k.Network[0] == "any" {
		in.Networks = &[]string{}
	} else if len(k.Network) > 0 {
		in.Networks = &k.Network
	}
	key, err := c.UpdateAPIKey(r.ctx, k.ID, in)
	if err != nil {
		return fmt.Errorf("change API key %s: %w", k.ID, err)
	}
	r.printf("changed %s: expires %s, networks %s, name %q\n", key.ID, timeOrDash(key.ExpiresAt),
		orDash(strings.Join(key.Networks, ",")),
		key.Name)
	return nil
}

type keysDeleteCmd struct {
	server   `embed:""`
	KeepKeys bool   `help:"The API keys that were made with it stay."`
	ID       string `arg:"" help:"The key's, link's or sign-in's ID, from keys list."`
}

// Run deletes a key.
func (k *keysDeleteCmd) Run(r *run) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	end := c.DeleteAPIKey
	if k.KeepKeys {
		end = c.ReplaceAPIKey
	}
	if err := end(r.ctx, k.ID); err != nil {
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
	fmt.Fprintf(r.stderr, "This link signs in whoever opens it first, until %s:\n",
		link.ExpiresAt.UTC().Format(time.RFC3339))
	r.printf("%s%s\n", strings.TrimRight(k.URL, "/"), link.Path)
	return nil
}
