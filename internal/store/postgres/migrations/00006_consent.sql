-- +goose Up
-- Whether a tenant's webhooks are enabled only where their targets consent.
ALTER TABLE tenants ADD COLUMN consent boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE tenants DROP COLUMN consent;
