-- +goose Up
-- Keys of limited life: links that sign somebody in once, and the sign-ins. They end with the API key that they come from.
ALTER TABLE api_keys ADD COLUMN kind TEXT NOT NULL DEFAULT '' CONSTRAINT api_keys_kind_known CHECK (kind IN ('', 'link', 'sign_in'));
ALTER TABLE api_keys ADD COLUMN parent TEXT CONSTRAINT api_keys_parent_exists REFERENCES api_keys (id) ON DELETE CASCADE;
ALTER TABLE api_keys ADD COLUMN webhook TEXT NOT NULL DEFAULT ''; -- ID of the one that it is bound to
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER
    CONSTRAINT api_keys_limited_ones_have_a_parent CHECK ((kind = '') = (parent IS NULL) AND (kind = '') = (expires_at IS NULL));
ALTER TABLE api_keys ADD COLUMN signed_in_for INTEGER NOT NULL DEFAULT 0; -- links: milliseconds

-- Ends what comes from a key with it, and finds what is over.
CREATE INDEX api_keys_by_parent ON api_keys (parent) WHERE parent IS NOT NULL;
CREATE INDEX api_keys_expiring ON api_keys (expires_at) WHERE expires_at IS NOT NULL;

-- +goose Down
DROP INDEX api_keys_expiring;
DROP INDEX api_keys_by_parent;
DELETE FROM api_keys WHERE kind <> '';
ALTER TABLE api_keys DROP COLUMN signed_in_for;
ALTER TABLE api_keys DROP COLUMN expires_at;
ALTER TABLE api_keys DROP COLUMN webhook;
ALTER TABLE api_keys DROP COLUMN parent;
ALTER TABLE api_keys DROP COLUMN kind;
