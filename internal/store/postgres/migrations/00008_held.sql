-- +goose Up
-- Nothing is sent to the webhook before; its receiver asked for it (Retry-After). NULL: it did not.
ALTER TABLE webhooks ADD COLUMN held_until timestamptz;

-- +goose Down
ALTER TABLE webhooks DROP COLUMN held_until;
