-- What persons did with records.
CREATE TABLE actions (
    id        BLOB NOT NULL PRIMARY KEY,
    at        INTEGER NOT NULL,
    by        TEXT NOT NULL,
    verb      TEXT NOT NULL,
    detail    TEXT NOT NULL,
    undoes    BLOB,
    undone_by BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE action_records (
    kind   TEXT NOT NULL,
    record BLOB NOT NULL,
    action BLOB NOT NULL,
    PRIMARY KEY (kind, record, action)
) STRICT, WITHOUT ROWID;
CREATE INDEX action_records_of_action ON action_records (action);

-- The record of the same kind that stands for it.
ALTER TABLE records ADD COLUMN merged_into BLOB;
ALTER TABLE links ADD COLUMN ignored INTEGER NOT NULL DEFAULT 0;
-- Between which a person is to decide: a list of ids.
ALTER TABLE parked ADD COLUMN records TEXT;
