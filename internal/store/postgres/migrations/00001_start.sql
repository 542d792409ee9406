-- +goose Up
-- seq is the acceptance time in Unix milliseconds << 20, plus 10 bits of the node's slot, plus a counter (store.Seq).
-- Every table of a tenant begins its keys with the tenant, so that it can be distributed by it.

CREATE TABLE tenants (
    id         text        NOT NULL CONSTRAINT tenants_pk PRIMARY KEY,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT tenants_id_given CHECK (id <> '')
);

CREATE TABLE webhooks (
    num                 bigint      NOT NULL GENERATED ALWAYS AS IDENTITY, -- named by events, outcomes and waiting
    tenant              text        NOT NULL CONSTRAINT webhooks_tenant_exists REFERENCES tenants (id),
    id                  text        NOT NULL,
    url                 text        NOT NULL,
    method              text        NOT NULL,
    event_types         json        NOT NULL, -- array of patterns
    owner_id            text        NOT NULL,
    auth                json        NOT NULL, -- type, username, header
    auth_sealed         bytea,
    headers             json        NOT NULL, -- array of names
    headers_sealed      bytea,                -- array of values, in the same order
    signing_keys        json        NOT NULL, -- array of objects: id, switch_at, expires_at
    signing_keys_sealed bytea,                -- array of keys, in the same order
    description         text        NOT NULL,
    enabled             boolean     NOT NULL,
    disabled_reason     text        NOT NULL,
    timeout             bigint      NOT NULL, -- nanoseconds
    retry_schedule      json        NOT NULL, -- array of nanoseconds
    version             bigint      NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    deleted_at          timestamptz,
    CONSTRAINT webhooks_pk PRIMARY KEY (tenant, num),      -- lists a tenant's, by num
    CONSTRAINT webhooks_id_once UNIQUE (tenant, id),       -- the look-up by public ID
    CONSTRAINT webhooks_method_known CHECK (method IN ('POST', 'GET')),
    CONSTRAINT webhooks_version_counts CHECK (version >= 1)
);

-- One row per start of a node; only the node itself writes it, twice a second.
CREATE TABLE nodes (
    id      uuid        NOT NULL CONSTRAINT nodes_pk PRIMARY KEY,
    slot    integer     NOT NULL CONSTRAINT nodes_slot_once UNIQUE, -- in the seq of every event that it accepts
    name    text        NOT NULL,                                   -- for people
    version text        NOT NULL,
    beat    bigint      NOT NULL,                                   -- counted up while it lives
    joined  timestamptz NOT NULL,
    CONSTRAINT nodes_slot_fits CHECK (slot BETWEEN 0 AND 1023)
);
CREATE SEQUENCE node_slots AS integer MINVALUE 0 MAXVALUE 1023 CYCLE;

-- Every commit of a node writes its row here, so that whoever takes its work over, and deletes the row, waits for the
-- commit under way and lets none follow.
CREATE TABLE fences (
    node         uuid   NOT NULL CONSTRAINT fences_pk PRIMARY KEY,
    commits      bigint NOT NULL, -- number of the last one: tells whether one whose answer was lost took place
    recover_from bigint NOT NULL  -- every event of the node below it is settled or waiting
) WITH (fillfactor = 50);

CREATE TABLE events (
    tenant          text        NOT NULL,
    seq             bigint      NOT NULL,
    slot            smallint    NOT NULL, -- of the node that accepted it
    id              uuid        NOT NULL,
    id_given        boolean     NOT NULL, -- by the publisher; then it is in event_ids
    type            text        NOT NULL,
    object_id       text        NOT NULL,
    object_owner_id text        NOT NULL,
    owner_id        text        NOT NULL,
    time            timestamptz NOT NULL,
    webhooks        bigint[]    NOT NULL, -- the numbers of those that it matched, ascending
    data            text        NOT NULL, -- a JSON object, as given
    CONSTRAINT events_pk PRIMARY KEY (tenant, seq), -- lists a tenant's events, newest first
    CONSTRAINT events_seq_positive CHECK (seq > 0)
) PARTITION BY RANGE (seq);

-- Finds an event by an ID that was made here: such IDs begin with their time, which says which partitions to look at.
CREATE INDEX events_by_made_id ON events (tenant, id) WHERE NOT id_given;
-- List the events of one type, object, owner or object owner, newest first.
CREATE INDEX events_by_type ON events (tenant, type, seq);
CREATE INDEX events_by_object ON events (tenant, object_id, seq);
CREATE INDEX events_by_object_owner ON events (tenant, object_owner_id, seq);
CREATE INDEX events_by_owner ON events (tenant, owner_id, seq);
-- Finds what a dead node accepted last, and what is too old. It costs almost nothing: rows come in the order of seq.
CREATE INDEX events_by_seq ON events USING brin (seq) WITH (pages_per_range = 16, autosummarize = on);

-- Idempotency across the days: one row per ID that a publisher gave, while its event is kept.
CREATE TABLE event_ids (
    tenant text   NOT NULL,
    id     uuid   NOT NULL,
    seq    bigint NOT NULL,
    CONSTRAINT event_ids_pk PRIMARY KEY (tenant, id)
);

CREATE TABLE outcomes (
    tenant   text        NOT NULL,
    webhook  bigint      NOT NULL,
    event    bigint      NOT NULL,
    attempt  integer     NOT NULL,
    kind     text        NOT NULL,
    at       timestamptz NOT NULL,
    duration bigint      NOT NULL, -- nanoseconds
    sent     boolean     NOT NULL,
    status   integer     NOT NULL, -- 0: no response
    next_at  timestamptz,          -- kind retry only
    class    text,
    key_id   text,
    response bytea,
    timings  bytea,                -- store.Timings
    CONSTRAINT outcomes_pk PRIMARY KEY (tenant, webhook, event, attempt),
    CONSTRAINT outcomes_kind_known CHECK (kind IN ('delivered', 'retry', 'exhausted', 'cancelled')),
    CONSTRAINT outcomes_retry_has_next CHECK ((kind = 'retry') = (next_at IS NOT NULL))
) PARTITION BY RANGE (event);

-- Lists what a person must look at. It holds only those rows.
CREATE INDEX outcomes_given_up ON outcomes (tenant, webhook, kind, event) WHERE kind IN ('exhausted', 'cancelled');

CREATE TABLE waiting (
    tenant   text        NOT NULL,
    webhook  bigint      NOT NULL,
    event    bigint      NOT NULL,
    attempts integer     NOT NULL,
    due_at   timestamptz NOT NULL,
    node     uuid,                 -- the one that has it in memory; NULL: none
    CONSTRAINT waiting_pk PRIMARY KEY (tenant, webhook, event),
    CONSTRAINT waiting_attempts_counted CHECK (attempts >= 0)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Takes a webhook's due deliveries, earliest first, and finds the next one. Finished deliveries are not in it.
-- The condition always holds; it keeps look-ups by key, which do not name due_at, from taking this index for theirs.
CREATE INDEX waiting_due ON waiting (tenant, webhook, due_at, event) WHERE due_at IS NOT NULL;
-- Tells which webhooks have due deliveries that no node has.
CREATE INDEX waiting_unclaimed ON waiting (tenant, webhook, due_at) WHERE node IS NULL;
-- Gives back what a dead node had.
CREATE INDEX waiting_by_node ON waiting (node) WHERE node IS NOT NULL;

-- What attempts came to, by webhook (0: all of the tenant's) and by minute and hour. Each node adds to rows of its own about
-- once a second, so that none waits for another.
CREATE TABLE rollups (
    tenant    text        NOT NULL,
    webhook   bigint      NOT NULL,
    span      smallint    NOT NULL, -- 0: a minute, 1: an hour
    start     timestamptz NOT NULL,
    slot      smallint    NOT NULL DEFAULT 0, -- of the node
    delivered bigint NOT NULL, retried bigint NOT NULL, exhausted bigint NOT NULL, cancelled bigint NOT NULL,
    -- Times to delivery by bin (store.LatencyBounds).
    h0 bigint NOT NULL, h1 bigint NOT NULL, h2 bigint NOT NULL, h3 bigint NOT NULL, h4 bigint NOT NULL,
    h5 bigint NOT NULL, h6 bigint NOT NULL, h7 bigint NOT NULL, h8 bigint NOT NULL, h9 bigint NOT NULL,
    h10 bigint NOT NULL, h11 bigint NOT NULL, h12 bigint NOT NULL, h13 bigint NOT NULL, h14 bigint NOT NULL,
    h15 bigint NOT NULL, h16 bigint NOT NULL, h17 bigint NOT NULL, h18 bigint NOT NULL, h19 bigint NOT NULL,
    CONSTRAINT rollups_pk PRIMARY KEY (tenant, webhook, span, start, slot),
    CONSTRAINT rollups_span_known CHECK (span IN (0, 1))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
-- Finds what is too old.
CREATE INDEX rollups_by_start ON rollups (span, start);

-- What falls outside the partitions of days: nothing, unless a clock is far off.
CREATE TABLE events_other PARTITION OF events DEFAULT;
CREATE TABLE outcomes_other PARTITION OF outcomes DEFAULT;

-- The advisory platform's objects. num orders lists; id is the public name.

CREATE TABLE advisors (
    num        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant     text        NOT NULL CONSTRAINT advisors_tenant_exists REFERENCES tenants (id),
    id         text        NOT NULL,
    version    bigint      NOT NULL,
    name       text        NOT NULL,
    email      text        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT advisors_pk PRIMARY KEY (tenant, id),
    CONSTRAINT advisors_version_counts CHECK (version >= 1)
);
CREATE INDEX advisors_by_tenant ON advisors (tenant, num);

CREATE TABLE investors (
    num        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant     text        NOT NULL,
    id         text        NOT NULL,
    version    bigint      NOT NULL,
    advisor    text        NOT NULL,
    type       text        NOT NULL,
    name       text        NOT NULL,
    email      text        NOT NULL,
    country    text        NOT NULL,
    reference  text        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz, -- NULL: not soft-deleted
    CONSTRAINT investors_pk PRIMARY KEY (tenant, id),
    CONSTRAINT investors_advisor_exists FOREIGN KEY (tenant, advisor) REFERENCES advisors (tenant, id),
    CONSTRAINT investors_type_known CHECK (type IN ('person', 'company')),
    CONSTRAINT investors_version_counts CHECK (version >= 1)
);
-- List a tenant's investors, and an advisor's; the second also counts them.
CREATE INDEX investors_by_tenant ON investors (tenant, num);
CREATE INDEX investors_by_advisor ON investors (tenant, advisor, num);
CREATE INDEX investors_by_reference ON investors (tenant, reference, num) WHERE reference <> '';
CREATE INDEX investors_expiring ON investors (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE advice_sessions (
    num            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant         text        NOT NULL,
    id             text        NOT NULL,
    version        bigint      NOT NULL,
    investor       text        NOT NULL,
    title          text        NOT NULL,
    objective      text        NOT NULL,
    risk_profile   text        NOT NULL,
    horizon_years  integer     NOT NULL, -- 0: not given
    recommendation text        NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    completed_at   timestamptz, -- NULL: not yet
    deleted_at     timestamptz, -- NULL: not soft-deleted
    CONSTRAINT advice_sessions_pk PRIMARY KEY (tenant, id),
    CONSTRAINT advice_sessions_investor_exists FOREIGN KEY (tenant, investor) REFERENCES investors (tenant, id),
    CONSTRAINT advice_sessions_version_counts CHECK (version >= 1)
);
CREATE INDEX advice_sessions_by_investor ON advice_sessions (tenant, investor, num);
CREATE INDEX advice_sessions_expiring ON advice_sessions (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE reports (
    num        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant     text        NOT NULL,
    id         text        NOT NULL,
    session    text        NOT NULL,
    created_at timestamptz NOT NULL,
    content    bytea       NOT NULL, -- a PDF
    CONSTRAINT reports_pk PRIMARY KEY (tenant, id),
    CONSTRAINT reports_session_exists FOREIGN KEY (tenant, session) REFERENCES advice_sessions (tenant, id)
);
ALTER TABLE reports ALTER COLUMN content SET STORAGE EXTERNAL; -- compressed already
CREATE INDEX reports_by_session ON reports (tenant, session, num);

CREATE TABLE idempotency_keys (
    tenant     text        NOT NULL,
    caller     text        NOT NULL,
    key        text        NOT NULL,
    request    bytea       NOT NULL, -- SHA-256 of what was asked
    object     text        NOT NULL, -- ID of what it made or changed
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pk PRIMARY KEY (tenant, caller, key),
    CONSTRAINT idempotency_keys_request_is_sha256 CHECK (length(request) = 32)
);
CREATE INDEX idempotency_keys_expiring ON idempotency_keys (created_at);

CREATE TABLE api_keys (
    id         text        NOT NULL CONSTRAINT api_keys_pk PRIMARY KEY,
    tenant     text        CONSTRAINT api_keys_tenant_exists REFERENCES tenants (id), -- NULL: the operator's
    role       text        NOT NULL,
    advisor    text,       -- role advisor only
    name       text        NOT NULL,
    hash       bytea       NOT NULL, -- SHA-256 of the key; the key is kept nowhere
    created_at timestamptz NOT NULL,
    kind       text        NOT NULL DEFAULT '', -- '': an API key; link and sign_in are of limited life
    parent     text CONSTRAINT api_keys_parent_exists REFERENCES api_keys (id) ON DELETE CASCADE, -- the API key that it comes from
    webhook    text        NOT NULL DEFAULT '', -- ID of the one that it is bound to; '': not bound
    expires_at timestamptz,          -- NULL: never
    signed_in_for bigint   NOT NULL DEFAULT 0, -- links: milliseconds
    CONSTRAINT api_keys_kind_known CHECK (kind IN ('', 'link', 'sign_in')),
    CONSTRAINT api_keys_limited_ones_have_a_parent CHECK ((kind = '') = (parent IS NULL) AND (kind = '') = (expires_at IS NULL)),
    CONSTRAINT api_keys_hash_once UNIQUE (hash), -- the look-up of every API request
    CONSTRAINT api_keys_advisor_exists FOREIGN KEY (tenant, advisor) REFERENCES advisors (tenant, id) ON DELETE CASCADE,
    CONSTRAINT api_keys_hash_is_sha256 CHECK (length(hash) = 32),
    CONSTRAINT api_keys_role_known CHECK (role IN ('publisher', 'viewer', 'admin', 'advisor', 'operator')),
    CONSTRAINT api_keys_operator_has_no_tenant CHECK ((role = 'operator') = (tenant IS NULL)),
    CONSTRAINT api_keys_advisor_named CHECK ((role = 'advisor') = (advisor IS NOT NULL))
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at, id);
CREATE INDEX api_keys_by_advisor ON api_keys (tenant, advisor) WHERE advisor IS NOT NULL;
CREATE INDEX api_keys_by_parent ON api_keys (parent) WHERE parent IS NOT NULL;
CREATE INDEX api_keys_expiring ON api_keys (expires_at) WHERE expires_at IS NOT NULL;

-- +goose Down
DROP TABLE api_keys, idempotency_keys, reports, advice_sessions, investors, advisors, waiting, outcomes, rollups, event_ids, events,
    fences, nodes, webhooks, tenants;
DROP SEQUENCE node_slots;
