-- The outbox of Quantfolio Webhooks, for PostgreSQL 14 and newer: the table into which a platform writes an event in the
-- transaction of the change itself, and from which `qhook relay` moves it. It may be run again at any time.
CREATE TABLE IF NOT EXISTS qhook_outbox (
    -- The order in which events go out.
    seq             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The event's ID, by which repeating it delivers nothing new.
    id              uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT qhook_outbox_id_once UNIQUE,
    tenant          text        NOT NULL DEFAULT 'default',
    type            text        NOT NULL,
    object_id       text        NOT NULL,
    object_owner_id text        NOT NULL,
    owner_id        text        NOT NULL,
    time            timestamptz NOT NULL DEFAULT now(),
    -- json, not jsonb: every digit of a number and the order of keys stay as they were given.
    data            json        NOT NULL DEFAULT '{}',
    -- When the row was written; the lag is measured by it, since time may lie long ago.
    written_at      timestamptz NOT NULL DEFAULT now(),
    -- Why the server refused the event, and when: the row is set aside. Clear both to send it again.
    error           text,
    failed_at       timestamptz,

    -- The server would refuse what these refuse. Here the mistake shows in the transaction that makes it.
    CONSTRAINT qhook_outbox_tenant_form CHECK (tenant ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
    CONSTRAINT qhook_outbox_type_given CHECK (type <> ''),
    CONSTRAINT qhook_outbox_object_id_size CHECK (octet_length(object_id) BETWEEN 1 AND 256),
    CONSTRAINT qhook_outbox_object_owner_id_size CHECK (octet_length(object_owner_id) BETWEEN 1 AND 256),
    CONSTRAINT qhook_outbox_owner_id_size CHECK (octet_length(owner_id) BETWEEN 1 AND 256),
    CONSTRAINT qhook_outbox_time_range CHECK (time >= '0001-01-02 00:00:00+00' AND time < '9999-12-31 00:00:00+00'),
    CONSTRAINT qhook_outbox_data_object CHECK (json_typeof(data) = 'object'),
    CONSTRAINT qhook_outbox_data_size CHECK (octet_length(data::text) <= 262144)
);

-- For finding and counting the rows that were set aside, without reading the others.
CREATE INDEX IF NOT EXISTS qhook_outbox_failed ON qhook_outbox (failed_at) WHERE failed_at IS NOT NULL;

-- Wakes the relay when the transaction commits. PostgreSQL sends one notification a transaction, however many rows it
-- wrote. Commits with a notification wait for each other for a moment; who cannot have that drops the trigger, and the
-- relay finds the rows by looking every second.
CREATE OR REPLACE FUNCTION qhook_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('qhook_outbox', '');
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER qhook_outbox_notify AFTER INSERT ON qhook_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION qhook_outbox_notify();
