-- +goose Up
-- The advisory platform's objects. num orders lists; id is the public name.

CREATE TABLE advisors (
    num        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     TEXT    NOT NULL CONSTRAINT advisors_tenant_exists REFERENCES tenants (id),
    id         TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT advisors_id_once UNIQUE (tenant, id), -- the look-up by ID
    CONSTRAINT advisors_version_counts CHECK (version >= 1)
) STRICT;

-- Lists a tenant's advisors.
CREATE INDEX advisors_by_tenant ON advisors (tenant, num);

CREATE TABLE investors (
    num        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    advisor    TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    country    TEXT    NOT NULL,
    reference  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER, -- NULL: not soft-deleted
    CONSTRAINT investors_id_once UNIQUE (tenant, id), -- the look-up by ID
    CONSTRAINT investors_advisor_exists FOREIGN KEY (tenant, advisor) REFERENCES advisors (tenant, id),
    CONSTRAINT investors_type_known CHECK (type = 'person' OR type = 'company'),
    CONSTRAINT investors_version_counts CHECK (version >= 1)
) STRICT;

-- List a tenant's investors, and an advisor's; the second also counts them.
CREATE INDEX investors_by_tenant ON investors (tenant, num);
CREATE INDEX investors_by_advisor ON investors (tenant, advisor, num);
-- Finds an investor by the firm's own number.
CREATE INDEX investors_by_reference ON investors (tenant, reference, num) WHERE reference <> '';
-- Finds what is to be removed for good. It holds only soft-deleted rows.
CREATE INDEX investors_expiring ON investors (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE advice_sessions (
    num            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant         TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    investor       TEXT    NOT NULL,
    title          TEXT    NOT NULL,
    risk_profile   TEXT    NOT NULL,
    horizon_years  INTEGER NOT NULL, -- 0: not given
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    completed_at   INTEGER, -- NULL: not yet
    deleted_at     INTEGER, -- NULL: not soft-deleted
    objective      TEXT    NOT NULL,
    recommendation TEXT    NOT NULL,
    CONSTRAINT advice_sessions_id_once UNIQUE (tenant, id), -- the look-up by ID
    CONSTRAINT advice_sessions_investor_exists FOREIGN KEY (tenant, investor) REFERENCES investors (tenant, id),
    CONSTRAINT advice_sessions_version_counts CHECK (version >= 1)
) STRICT;

-- Lists an investor's sessions and counts them.
CREATE INDEX advice_sessions_by_investor ON advice_sessions (tenant, investor, num);
-- Finds what is to be removed for good. It holds only soft-deleted rows.
CREATE INDEX advice_sessions_expiring ON advice_sessions (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE reports (
    num        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    session    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    content    BLOB    NOT NULL, -- a PDF
    CONSTRAINT reports_id_once UNIQUE (tenant, id), -- the look-up by ID
    CONSTRAINT reports_session_exists FOREIGN KEY (tenant, session) REFERENCES advice_sessions (tenant, id)
) STRICT;

-- Lists a session's reports and removes them with it.
CREATE INDEX reports_by_session ON reports (tenant, session, num);

CREATE TABLE idempotency_keys (
    tenant     TEXT    NOT NULL,
    caller     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    request    BLOB    NOT NULL, -- SHA-256 of what was asked
    object     TEXT    NOT NULL, -- ID of what it made or changed
    created_at INTEGER NOT NULL,
    CONSTRAINT idempotency_keys_pk PRIMARY KEY (tenant, caller, key),
    CONSTRAINT idempotency_keys_request_is_sha256 CHECK (length(request) = 32)
) STRICT, WITHOUT ROWID;

-- Finds the keys that are forgotten.
CREATE INDEX idempotency_keys_expiring ON idempotency_keys (created_at);

-- An advisor's API key names the advisor and ends with them. A CHECK cannot be changed in place, so the table is made anew.
CREATE TABLE api_keys_new (
    id         TEXT    NOT NULL CONSTRAINT api_keys_pk PRIMARY KEY,
    tenant     TEXT    CONSTRAINT api_keys_tenant_exists REFERENCES tenants (id), -- NULL: the operator's
    role       TEXT    NOT NULL,
    advisor    TEXT,   -- role advisor only
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL, -- SHA-256 of the key; the key is kept nowhere
    created_at INTEGER NOT NULL,
    CONSTRAINT api_keys_hash_once UNIQUE (hash), -- the look-up of every API request
    CONSTRAINT api_keys_advisor_exists FOREIGN KEY (tenant, advisor) REFERENCES advisors (tenant, id) ON DELETE CASCADE,
    CONSTRAINT api_keys_hash_is_sha256 CHECK (length(hash) = 32),
    CONSTRAINT api_keys_role_known CHECK (role IN ('publisher', 'viewer', 'admin', 'advisor', 'operator')),
    CONSTRAINT api_keys_operator_has_no_tenant CHECK ((role = 'operator') = (tenant IS NULL)),
    CONSTRAINT api_keys_advisor_named CHECK ((role = 'advisor') = (advisor IS NOT NULL))
) STRICT;

INSERT INTO api_keys_new (id, tenant, role, name, hash, created_at)
    SELECT id, tenant, role, name, hash, created_at FROM api_keys;
DROP TABLE api_keys;
ALTER TABLE api_keys_new RENAME TO api_keys;

-- Lists a tenant's keys, oldest first, and checks the reference to tenants.
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at, id);
-- Ends an advisor's keys with the advisor.
CREATE INDEX api_keys_by_advisor ON api_keys (tenant, advisor) WHERE advisor IS NOT NULL;

-- +goose Down
DROP INDEX api_keys_by_advisor;
DROP INDEX api_keys_by_tenant;
CREATE TABLE api_keys_old (
    id         TEXT    NOT NULL CONSTRAINT api_keys_pk PRIMARY KEY,
    tenant     TEXT    CONSTRAINT api_keys_tenant_exists REFERENCES tenants (id),
    role       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT api_keys_hash_once UNIQUE (hash),
    CONSTRAINT api_keys_hash_is_sha256 CHECK (length(hash) = 32),
    CONSTRAINT api_keys_role_known CHECK (role IN ('publisher', 'viewer', 'admin', 'operator')),
    CONSTRAINT api_keys_operator_has_no_tenant CHECK ((role = 'operator') = (tenant IS NULL))
) STRICT;
INSERT INTO api_keys_old (id, tenant, role, name, hash, created_at)
    SELECT id, tenant, role, name, hash, created_at FROM api_keys WHERE role <> 'advisor';
DROP TABLE api_keys;
ALTER TABLE api_keys_old RENAME TO api_keys;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at, id);
DROP TABLE idempotency_keys;
DROP TABLE reports;
DROP TABLE advice_sessions;
DROP TABLE investors;
DROP TABLE advisors;
