-- +goose Up
-- Who made a key, from where and until when it is good, and when it was last used. Not references: what a key made ends
-- with it by the statement that deletes it, and a copy may write them in any order.
ALTER TABLE api_keys
    ADD COLUMN maker text, -- ID of the key that it was made with, a sign-in's too; NULL: not known
    ADD COLUMN ends_at timestamptz, -- API keys: when it ends; links: when the sign-in that it gives ends at the latest
    ADD COLUMN networks text NOT NULL DEFAULT '', -- prefixes with commas between; '': from anywhere
    ADD COLUMN used_at timestamptz,
    ADD COLUMN used_from text NOT NULL DEFAULT ''; -- an address

-- The operator has used the keys that are there, whenever that was.
UPDATE api_keys SET used_at = created_at WHERE tenant IS NULL;

-- Finds what a key made.
CREATE INDEX api_keys_by_maker ON api_keys (maker) WHERE maker IS NOT NULL;

-- +goose Down
DROP INDEX api_keys_by_maker;
ALTER TABLE api_keys DROP COLUMN used_from, DROP COLUMN used_at, DROP COLUMN networks, DROP COLUMN ends_at, DROP COLUMN maker;
