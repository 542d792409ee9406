-- +goose Up
-- Who made a key, from where and until when it is good, and when it was last used. Not references: what a key made ends
-- with it by the statement that deletes it, and a copy may write them in any order.
ALTER TABLE api_keys ADD COLUMN maker TEXT; -- ID of the key that it was made with, a sign-in's too; NULL: not known
ALTER TABLE api_keys ADD COLUMN ends_at INTEGER; -- API keys: when it ends; links: when the sign-in that it gives ends at the latest
ALTER TABLE api_keys ADD COLUMN networks TEXT NOT NULL DEFAULT ''; -- prefixes with commas between; '': from anywhere
ALTER TABLE api_keys ADD COLUMN used_at INTEGER;
ALTER TABLE api_keys ADD COLUMN used_from TEXT NOT NULL DEFAULT ''; -- an address

-- The operator has used the keys that are there, whenever that was.
UPDATE api_keys SET used_at = created_at WHERE tenant IS NULL;

-- Finds what a key made.
CREATE INDEX api_keys_by_maker ON api_keys (maker) WHERE maker IS NOT NULL;

-- +goose Down
DROP INDEX api_keys_by_maker;
ALTER TABLE api_keys DROP COLUMN used_from;
ALTER TABLE api_keys DROP COLUMN used_at;
ALTER TABLE api_keys DROP COLUMN networks;
ALTER TABLE api_keys DROP COLUMN ends_at;
ALTER TABLE api_keys DROP COLUMN maker;
