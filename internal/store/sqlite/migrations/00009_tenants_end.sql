-- +goose Up
-- When a tenant ended, and from when on all of it is removed. NULL: it has not.
ALTER TABLE tenants ADD COLUMN ended_at INTEGER;
ALTER TABLE tenants ADD COLUMN delete_at INTEGER;

-- +goose Down
ALTER TABLE tenants DROP COLUMN delete_at;
ALTER TABLE tenants DROP COLUMN ended_at;
