-- +goose Up
-- Large data is kept packed: an S2 block (https://github.com/google/snappy/blob/main/format_description.txt, with the
-- extensions of klauspost/compress), and data is '' then. NULL: data has it.
ALTER TABLE events ADD COLUMN packed BLOB;

-- +goose Down
ALTER TABLE events DROP COLUMN packed;
