-- +goose Up
-- The transaction that wrote a webhook last: what may have been written since somebody looked is found by it, exactly,
-- although transactions do not end in the order of their numbers.
ALTER TABLE webhooks ADD COLUMN changed xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX webhooks_changed ON webhooks (changed);
-- The look-up by what events, outcomes and waiting name.
ALTER TABLE webhooks ADD CONSTRAINT webhooks_num_once UNIQUE (num);

-- +goose Down
ALTER TABLE webhooks DROP CONSTRAINT webhooks_num_once, DROP COLUMN changed;
