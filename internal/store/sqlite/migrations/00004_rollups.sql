-- +goose Up
-- What attempts came to, by webhook (0: all of the tenant's) and by minute and hour. It is added to about once a second.
CREATE TABLE rollups (
    tenant    TEXT    NOT NULL,
    webhook   INTEGER NOT NULL,
    span      INTEGER NOT NULL, -- 0: a minute, 1: an hour
    start     INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    retried   INTEGER NOT NULL,
    exhausted INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    -- Times to delivery by bin (store.LatencyBounds).
    h0 INTEGER NOT NULL, h1 INTEGER NOT NULL, h2 INTEGER NOT NULL, h3 INTEGER NOT NULL, h4 INTEGER NOT NULL,
    h5 INTEGER NOT NULL, h6 INTEGER NOT NULL, h7 INTEGER NOT NULL, h8 INTEGER NOT NULL, h9 INTEGER NOT NULL,
    h10 INTEGER NOT NULL, h11 INTEGER NOT NULL, h12 INTEGER NOT NULL, h13 INTEGER NOT NULL, h14 INTEGER NOT NULL,
    h15 INTEGER NOT NULL, h16 INTEGER NOT NULL, h17 INTEGER NOT NULL, h18 INTEGER NOT NULL, h19 INTEGER NOT NULL,
    CONSTRAINT rollups_pk PRIMARY KEY (tenant, webhook, span, start),
    CONSTRAINT rollups_span_known CHECK (span IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Finds what is too old.
CREATE INDEX rollups_by_start ON rollups (span, start);

-- +goose Down
DROP TABLE rollups;
