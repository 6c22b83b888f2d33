-- What persons did with records.
CREATE TABLE actions (
    id        uuid NOT NULL PRIMARY KEY,
    at        bigint NOT NULL,
    by        text NOT NULL,
    verb      text NOT NULL,
    detail    text NOT NULL,
    undoes    uuid,
    undone_by uuid
);

CREATE TABLE action_records (
    kind   text NOT NULL,
    record uuid NOT NULL,
    action uuid NOT NULL,
    PRIMARY KEY (kind, record, action)
);
CREATE INDEX action_records_of_action ON action_records (action);

-- The record of the same kind that stands for it.
ALTER TABLE records ADD COLUMN merged_into uuid;
ALTER TABLE links ADD COLUMN ignored boolean NOT NULL DEFAULT false;
-- Between which a person is to decide: a list of ids.
ALTER TABLE parked ADD COLUMN records text;
