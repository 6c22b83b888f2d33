-- By what endpoints are told things: who may know what, in which shape. As the relay writes it; kept for good.
CREATE TABLE terms (
    digest  text COLLATE "C" NOT NULL PRIMARY KEY,
    partner text NOT NULL,
    text    text NOT NULL
);

-- The record that an attempt told of, and by which terms; nothing where nothing left, or what left was about no record.
ALTER TABLE attempts ADD COLUMN record text COLLATE "C";
ALTER TABLE attempts ADD COLUMN terms text COLLATE "C";
CREATE INDEX attempts_of_record ON attempts (record) WHERE record IS NOT NULL;

-- What was read by whom it is for, the first time by these terms.
CREATE TABLE pulls (
    delivery uuid NOT NULL,
    terms    text COLLATE "C" NOT NULL,
    at       bigint NOT NULL,
    record   text COLLATE "C" NOT NULL,
    PRIMARY KEY (delivery, terms)
);
CREATE INDEX pulls_of_record ON pulls (record);
