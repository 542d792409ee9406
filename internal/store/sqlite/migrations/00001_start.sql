-- +goose Up
-- Times are Unix milliseconds, UTC. seq is the acceptance time in milliseconds << 20 plus a counter (store.Seq), so a
-- range of time is a range of seq and new events go to the right edge.

CREATE TABLE tenants (
    id         TEXT    NOT NULL CONSTRAINT tenants_pk PRIMARY KEY,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT tenants_id_given CHECK (id <> '')
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id         TEXT    NOT NULL CONSTRAINT api_keys_pk PRIMARY KEY,
    tenant     TEXT    CONSTRAINT api_keys_tenant_exists REFERENCES tenants (id), -- NULL: the operator's
    role       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL, -- SHA-256 of the key; the key is kept nowhere
    created_at INTEGER NOT NULL,
    CONSTRAINT api_keys_hash_once UNIQUE (hash), -- the look-up of every API request
    CONSTRAINT api_keys_hash_is_sha256 CHECK (length(hash) = 32),
    CONSTRAINT api_keys_role_known CHECK (role IN ('publisher', 'viewer', 'admin', 'operator')),
    CONSTRAINT api_keys_operator_has_no_tenant CHECK ((role = 'operator') = (tenant IS NULL))
) STRICT;

-- Lists a tenant's keys, oldest first, and checks the reference to tenants.
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at, id);

-- What is secret is in the *_sealed columns, one ciphertext per column, bound to tenant, webhook and column.
CREATE TABLE webhooks (
    num                 INTEGER PRIMARY KEY AUTOINCREMENT, -- named by events, outcomes and waiting; never used again
    tenant              TEXT    NOT NULL CONSTRAINT webhooks_tenant_exists REFERENCES tenants (id),
    id                  TEXT    NOT NULL,
    url                 TEXT    NOT NULL,
    method              TEXT    NOT NULL,
    event_types         TEXT    NOT NULL, -- JSON array of patterns
    owner_id            TEXT    NOT NULL,
    auth                TEXT    NOT NULL, -- JSON object: type, username, header
    auth_sealed         BLOB,
    headers             TEXT    NOT NULL, -- JSON array of names
    headers_sealed      BLOB,             -- JSON array of values, in the same order
    signing_keys        TEXT    NOT NULL, -- JSON array of objects: id, switch_at, expires_at
    signing_keys_sealed BLOB,             -- JSON array of keys, in the same order
    description         TEXT    NOT NULL,
    enabled             INTEGER NOT NULL,
    disabled_reason     TEXT    NOT NULL,
    timeout             INTEGER NOT NULL, -- nanoseconds
    retry_schedule      TEXT    NOT NULL, -- JSON array of nanoseconds
    version             INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    deleted_at          INTEGER,          -- NULL while it exists
    CONSTRAINT webhooks_id_once UNIQUE (tenant, id), -- the look-up by public ID
    CONSTRAINT webhooks_method_known CHECK (method IN ('POST', 'GET')),
    CONSTRAINT webhooks_enabled_is_bool CHECK (enabled IN (0, 1)),
    CONSTRAINT webhooks_version_counts CHECK (version >= 1)
) STRICT;

-- Lists a tenant's webhooks by num, and names them for its deliveries.
CREATE INDEX webhooks_by_tenant ON webhooks (tenant, num);

CREATE TABLE events (
    seq             INTEGER PRIMARY KEY,
    tenant          TEXT    NOT NULL,
    id              BLOB    NOT NULL,
    type            TEXT    NOT NULL,
    object_id       TEXT    NOT NULL,
    object_owner_id TEXT    NOT NULL,
    owner_id        TEXT    NOT NULL,
    time            INTEGER NOT NULL,
    webhooks        TEXT    NOT NULL, -- JSON array of the numbers of the webhooks that it matched, ascending
    data            TEXT    NOT NULL, -- a JSON object, as given; last because it may be long
    CONSTRAINT events_seq_positive CHECK (seq > 0),
    CONSTRAINT events_id_is_uuid CHECK (length(id) = 16)
) STRICT;

-- Idempotency: one event per tenant and ID; also the look-up by ID.
CREATE UNIQUE INDEX events_id_once ON events (tenant, id);

-- Lists a tenant's events newest first (seq is the row ID, so it ends every index) without walking other tenants'.
CREATE INDEX events_by_tenant ON events (tenant);

-- Lists the events of one object, owner or type. Such IDs come in any order, and an index on object_id alone was
-- measured at 20 microseconds an event (one page somewhere in the history is written for each), against 8 for all the rest.
-- So the history is cut into parts of about a thousand events, each with a Bloom filter of the values in it, and a list
-- reads the parts that may have what it looks for. A part covers what is above the one before it, up to last_seq.
CREATE TABLE event_parts (
    last_seq INTEGER PRIMARY KEY,
    filter   BLOB -- NULL: may have anything
) STRICT;

CREATE TABLE outcomes (
    webhook  INTEGER NOT NULL,
    event    INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    duration INTEGER NOT NULL, -- nanoseconds
    sent     INTEGER NOT NULL,
    status   INTEGER NOT NULL, -- 0: no response
    next_at  INTEGER,          -- kind retry only
    class    TEXT,
    key_id   TEXT,
    response BLOB,             -- last because it may be long
    CONSTRAINT outcomes_pk PRIMARY KEY (webhook, event, attempt),
    -- Not IN (…): for more than two values SQLite builds a table of them on every INSERT.
    CONSTRAINT outcomes_kind_known CHECK (kind = 'delivered' OR kind = 'retry' OR kind = 'exhausted' OR kind = 'cancelled'),
    CONSTRAINT outcomes_retry_has_next CHECK ((kind = 'retry') = (next_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Lists what a person must look at. It holds only those rows, so that the happy path does not pay for it.
CREATE INDEX outcomes_given_up ON outcomes (webhook, kind, event) WHERE kind IN ('exhausted', 'cancelled');

CREATE TABLE waiting (
    webhook  INTEGER NOT NULL,
    event    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at   INTEGER NOT NULL,
    CONSTRAINT waiting_pk PRIMARY KEY (webhook, event),
    CONSTRAINT waiting_attempts_counted CHECK (attempts >= 0)
) STRICT, WITHOUT ROWID;

-- Finds a webhook's due deliveries, earliest first, and the next one to become due.
CREATE INDEX waiting_due ON waiting (webhook, due_at, event);

CREATE TABLE meta (
    one          INTEGER PRIMARY KEY,
    recover_from INTEGER NOT NULL, -- every event below it is settled or waiting
    CONSTRAINT meta_one_row CHECK (one = 1)
) STRICT;

INSERT INTO meta (one, recover_from) VALUES (1, 0);

-- +goose Down
DROP TABLE meta;
DROP TABLE waiting;
DROP TABLE outcomes;
DROP TABLE event_parts;
DROP TABLE events;
DROP TABLE webhooks;
DROP TABLE api_keys;
DROP TABLE tenants;
