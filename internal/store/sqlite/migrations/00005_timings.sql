-- +goose Up
-- The phases of an attempt (store.Timings).
ALTER TABLE outcomes ADD COLUMN timings BLOB;

-- +goose Down
ALTER TABLE outcomes DROP COLUMN timings;
