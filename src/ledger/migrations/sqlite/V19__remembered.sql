-- What was told about records by events that are kept no more, summed.
CREATE TABLE remembered (
    record     TEXT NOT NULL,
    terms      TEXT NOT NULL,
    endpoint   TEXT NOT NULL,
    event_type TEXT NOT NULL,
    -- Who said the events.
    source     TEXT NOT NULL,
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    times      INTEGER NOT NULL,
    PRIMARY KEY (record, terms, endpoint, event_type, source)
) STRICT, WITHOUT ROWID;
