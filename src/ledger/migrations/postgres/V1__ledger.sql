-- Moments are microseconds since 1970 in UTC. JSON is text as it was written: jsonb would respell numbers and refuse
-- U+0000, which systems do send. Keys are compared byte by byte, so that both stores order them alike.

CREATE TABLE leases (
    key    text COLLATE "C" NOT NULL PRIMARY KEY,
    -- Counts owners and releases; a write that carries an older one is refused.
    token  bigint NOT NULL,
    holder text NOT NULL,
    until  bigint NOT NULL
);

CREATE TABLE records (
    kind       text COLLATE "C" NOT NULL,
    id         uuid NOT NULL,
    version    bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint,
    fields     text NOT NULL,
    provenance text NOT NULL,
    PRIMARY KEY (kind, id)
);

-- One row a version: all fields that changed with it.
CREATE TABLE history (
    kind    text COLLATE "C" NOT NULL,
    record  uuid NOT NULL,
    version bigint NOT NULL,
    changes text NOT NULL,
    PRIMARY KEY (kind, record, version)
);

CREATE TABLE match_keys (
    kind   text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    record uuid NOT NULL,
    PRIMARY KEY (kind, key, record)
);
CREATE INDEX match_keys_of_record ON match_keys (kind, record);

CREATE TABLE links (
    connection       text COLLATE "C" NOT NULL,
    object           text COLLATE "C" NOT NULL,
    external_id      text COLLATE "C" NOT NULL,
    kind             text COLLATE "C" NOT NULL,
    record           uuid NOT NULL,
    base             text,
    wire             text,
    external_version text,
    seen_at          bigint NOT NULL,
    gone             boolean NOT NULL,
    PRIMARY KEY (connection, object, external_id)
);
CREATE UNIQUE INDEX links_of_record ON links (kind, record, connection, object);

CREATE TABLE conflicts (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text COLLATE "C" NOT NULL,
    record     uuid NOT NULL,
    path       text COLLATE "C" NOT NULL,
    connection text COLLATE "C" NOT NULL,
    base       text NOT NULL,
    ours       text NOT NULL,
    theirs     text NOT NULL,
    kept       text NOT NULL,
    open       boolean NOT NULL,
    found_at   bigint NOT NULL
);
CREATE INDEX conflicts_of_record ON conflicts (kind, record);
CREATE UNIQUE INDEX conflicts_open ON conflicts (kind, record, path, connection) WHERE open;

CREATE TABLE pushes (
    connection text COLLATE "C" NOT NULL,
    object     text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    record     uuid NOT NULL,
    mark       bigint NOT NULL,
    due_at     bigint NOT NULL,
    attempts   bigint NOT NULL,
    PRIMARY KEY (connection, object, kind, record)
);
CREATE INDEX pushes_due ON pushes (connection, object, due_at, record);

CREATE TABLE parked (
    connection text COLLATE "C" NOT NULL,
    object     text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    inbound    boolean NOT NULL,
    code       text NOT NULL,
    reason     text NOT NULL,
    since      bigint NOT NULL,
    retry_at   bigint,
    PRIMARY KEY (connection, object, key, inbound)
);
CREATE INDEX parked_inbound_due ON parked (connection, object, retry_at) WHERE inbound AND retry_at IS NOT NULL;

CREATE TABLE cursors (
    connection text COLLATE "C" NOT NULL,
    object     text COLLATE "C" NOT NULL,
    position   text NOT NULL,
    primed     boolean NOT NULL,
    stored_at  bigint NOT NULL,
    PRIMARY KEY (connection, object)
);

CREATE TABLE events (
    -- The order of acceptance.
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid NOT NULL UNIQUE,
    event_type  text COLLATE "C" NOT NULL,
    source      text COLLATE "C" NOT NULL,
    dedupe      text COLLATE "C" NOT NULL,
    received_at bigint NOT NULL,
    trace       text NOT NULL,
    body        bytea NOT NULL,
    UNIQUE (source, dedupe)
);

CREATE TABLE deliveries (
    id          uuid NOT NULL PRIMARY KEY,
    -- The event's place in the order of acceptance.
    seq         bigint NOT NULL,
    endpoint    text COLLATE "C" NOT NULL,
    -- due, delivered or dead
    state       text NOT NULL,
    -- Whether it was never tried: those wait in the order of acceptance, the others by their next moment.
    fresh       boolean NOT NULL,
    attempts    bigint NOT NULL,
    next_at     bigint NOT NULL,
    last_status bigint,
    last_error  text NOT NULL
);
CREATE INDEX deliveries_of_event ON deliveries (seq);
-- A delivery stands in at most one of these, so taking one in and ending it touches one small index.
CREATE INDEX deliveries_fresh ON deliveries (endpoint, seq) WHERE state = 'due' AND fresh;
CREATE INDEX deliveries_again ON deliveries (endpoint, next_at, seq) WHERE state = 'due' AND NOT fresh;
CREATE INDEX deliveries_dead ON deliveries (endpoint, id) WHERE state = 'dead';

CREATE TABLE attempts (
    delivery    uuid NOT NULL,
    at          bigint NOT NULL,
    number      bigint NOT NULL,
    duration_ms bigint NOT NULL,
    status      bigint,
    error       text NOT NULL,
    -- delivered, retry or dead
    next        text NOT NULL,
    retry_at    bigint,
    PRIMARY KEY (delivery, at, number)
);

CREATE TABLE refusals (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           bigint NOT NULL,
    addressed_to text NOT NULL,
    status       bigint NOT NULL,
    code         text NOT NULL,
    webhook_id   text NOT NULL,
    body_bytes   bigint NOT NULL
);

CREATE TABLE stopped_endpoints (
    endpoint text COLLATE "C" NOT NULL PRIMARY KEY,
    reason   text NOT NULL,
    at       bigint NOT NULL
);

CREATE TABLE runs (
    id         uuid NOT NULL PRIMARY KEY,
    connection text COLLATE "C" NOT NULL,
    object     text COLLATE "C" NOT NULL,
    direction  text NOT NULL,
    started_at bigint NOT NULL,
    ended_at   bigint,
    counts     text NOT NULL,
    error      text NOT NULL
);
CREATE INDEX runs_newest ON runs (started_at, id);

CREATE TABLE sealed (
    name   text COLLATE "C" NOT NULL PRIMARY KEY,
    sealed bytea NOT NULL
);

-- One row that is written to know that writing works.
CREATE TABLE pulse (
    one   bigint NOT NULL PRIMARY KEY CHECK (one = 1),
    beats bigint NOT NULL
);
INSERT INTO pulse (one, beats) VALUES (1, 0);
