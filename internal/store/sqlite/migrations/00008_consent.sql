-- +goose Up
-- Whether a tenant's webhooks are enabled only where their targets consent.
ALTER TABLE tenants ADD COLUMN consent INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE tenants DROP COLUMN consent;
