-- +goose Up
-- When a tenant ended, and from when on all of it is removed. NULL: it has not.
ALTER TABLE tenants ADD COLUMN ended_at timestamptz, ADD COLUMN delete_at timestamptz;

-- +goose Down
ALTER TABLE tenants DROP COLUMN delete_at, DROP COLUMN ended_at;
