package outbox_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/outbox"
)

func createInvestor(ctx context.Context, conn *pgx.Conn, id, advisor, firm string) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)

	if _, err := tx.Exec(ctx, "INSERT INTO investors (id, advisor_id) VALUES ($1, $2)", id, advisor); err != nil {
		return err
	}
	query, args, err := outbox.Insert("default", client.Event{
		Type: "qap.investor.created", ObjectID: id, ObjectOwnerID: advisor, OwnerID: firm,
		Data: []byte(`{"investor_type":"person"}`),
	})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, query, args...); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func ExampleInsert() {
	query, args, err := outbox.Insert("default", client.Event{
		Type: "qap.investor.created", ObjectID: "inv-7", ObjectOwnerID: "adv-1", OwnerID: "firm-1",
	})
	fmt.Println(query)
	fmt.Println(args[1:6], err)

	_, _, err = outbox.Insert("default", client.Event{
		Type: "qap.investor.create", ObjectID: "inv-7", ObjectOwnerID: "adv-1", OwnerID: "firm-1",
	})
	fmt.Println(err)
	// Output:
	// INSERT INTO qhook_outbox (id, tenant, type, object_id, object_owner_id, owner_id, time, data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
	// [default qap.investor.created inv-7 adv-1 firm-1] <nil>
	// outbox: events[0].type: is not an event type; did you mean qap.investor.created, qap.investor.updated, qap.investor.deleted?
}
