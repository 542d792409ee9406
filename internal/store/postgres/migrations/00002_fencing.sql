-- +goose Up
-- A node of a version that does not know this schema cannot commit, nor beat; the others take its work over.

-- A commit locks its node's row here and writes nothing to it, so that whoever takes the node's work over, and deletes
-- the row, waits for the commit under way and lets none follow.
ALTER TABLE fences ADD COLUMN epoch bigint NOT NULL DEFAULT 0; -- counted up when a commit's answer was lost: it comes no more

-- What a node writes again and again is in rows of their own whose key changes each time: a version is found by its
-- key, without the dead ones before it, however many a long transaction keeps.
CREATE TABLE marks (
    node         uuid   NOT NULL,
    number       bigint NOT NULL, -- counted up by each commit that has neither an event nor an outcome to be known by
    recover_from bigint NOT NULL, -- every event of the node below it is settled or waiting
    CONSTRAINT marks_pk PRIMARY KEY (node, number)
);
CREATE TABLE beats (
    node uuid   NOT NULL,
    beat bigint NOT NULL, -- counted up while the node lives
    CONSTRAINT beats_pk PRIMARY KEY (node, beat)
);
INSERT INTO marks (node, number, recover_from) SELECT node, 0, recover_from FROM fences;
INSERT INTO beats (node, beat) SELECT id, beat FROM nodes;
ALTER TABLE fences DROP COLUMN commits, DROP COLUMN recover_from;
ALTER TABLE nodes DROP COLUMN beat;

-- Locks the row of a node's fence until the transaction ends, or fails with QH001 when it is gone or in another epoch.
-- +goose StatementBegin
CREATE FUNCTION hold_fence(of_node uuid, since bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM fences WHERE node = of_node AND epoch = since FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the node is fenced off' USING ERRCODE = 'QH001';
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION hold_fence(uuid, bigint);
ALTER TABLE nodes ADD COLUMN beat bigint NOT NULL DEFAULT 0;
ALTER TABLE nodes ALTER COLUMN beat DROP DEFAULT;
ALTER TABLE fences ADD COLUMN commits bigint NOT NULL DEFAULT 0, ADD COLUMN recover_from bigint NOT NULL DEFAULT 0, DROP COLUMN epoch;
UPDATE fences SET recover_from = coalesce((SELECT max(m.recover_from) FROM marks AS m WHERE m.node = fences.node), 0);
ALTER TABLE fences ALTER COLUMN commits DROP DEFAULT, ALTER COLUMN recover_from DROP DEFAULT;
DROP TABLE marks, beats;
