-- By what endpoints are told things: who may know what, in which shape. As the relay writes it; kept for good.
CREATE TABLE terms (
    digest  TEXT NOT NULL PRIMARY KEY,
    partner TEXT NOT NULL,
    text    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The record that an attempt told of, and by which terms; nothing where nothing left, or what left was about no record.
ALTER TABLE attempts ADD COLUMN record TEXT;
ALTER TABLE attempts ADD COLUMN terms TEXT;
CREATE INDEX attempts_of_record ON attempts (record) WHERE record IS NOT NULL;

-- What was read by whom it is for, the first time by these terms.
CREATE TABLE pulls (
    delivery BLOB NOT NULL,
    terms    TEXT NOT NULL,
    at       INTEGER NOT NULL,
    record   TEXT NOT NULL,
    PRIMARY KEY (delivery, terms)
) STRICT, WITHOUT ROWID;
CREATE INDEX pulls_of_record ON pulls (record);
