-- What was told about records by events that are kept no more, summed.
CREATE TABLE remembered (
    record     text COLLATE "C" NOT NULL,
    terms      text COLLATE "C" NOT NULL,
    endpoint   text NOT NULL,
    event_type text NOT NULL,
    -- Who said the events.
    source     text NOT NULL,
    first_at   bigint NOT NULL,
    last_at    bigint NOT NULL,
    times      bigint NOT NULL,
    PRIMARY KEY (record, terms, endpoint, event_type, source)
);
