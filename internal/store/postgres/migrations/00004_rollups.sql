-- +goose Up
-- A row is added to once a second. Its part changes now and then, and with it the key, so that only few of the dead
-- versions that a long transaction keeps are on the way to it; the updates between stay on their page (HOT).
ALTER TABLE rollups ADD COLUMN part bigint NOT NULL DEFAULT 0;
ALTER TABLE rollups DROP CONSTRAINT rollups_pk;
ALTER TABLE rollups ADD CONSTRAINT rollups_pk PRIMARY KEY (tenant, webhook, span, start, slot, part);

-- +goose Down
ALTER TABLE rollups DROP CONSTRAINT rollups_pk;
ALTER TABLE rollups ADD CONSTRAINT rollups_pk PRIMARY KEY (tenant, webhook, span, start, slot);
ALTER TABLE rollups DROP COLUMN part;
