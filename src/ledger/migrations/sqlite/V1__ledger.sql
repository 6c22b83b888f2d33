-- Moments are microseconds since 1970 in UTC, ids the 16 bytes of their UUID, JSON is text as it was written.

CREATE TABLE leases (
    key    TEXT NOT NULL PRIMARY KEY,
    -- Counts owners and releases; a write that carries an older one is refused.
    token  INTEGER NOT NULL,
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    kind       TEXT NOT NULL,
    id         BLOB NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    fields     TEXT NOT NULL,
    provenance TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

-- One row a version: all fields that changed with it.
CREATE TABLE history (
    kind    TEXT NOT NULL,
    record  BLOB NOT NULL,
    version INTEGER NOT NULL,
    changes TEXT NOT NULL,
    PRIMARY KEY (kind, record, version)
) STRICT;

CREATE TABLE match_keys (
    kind   TEXT NOT NULL,
    key    TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (kind, key, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX match_keys_of_record ON match_keys (kind, record);

CREATE TABLE links (
    connection       TEXT NOT NULL,
    object           TEXT NOT NULL,
    external_id      TEXT NOT NULL,
    kind             TEXT NOT NULL,
    record           BLOB NOT NULL,
    base             TEXT,
    wire             TEXT,
    external_version TEXT,
    seen_at          INTEGER NOT NULL,
    gone             INTEGER NOT NULL,
    PRIMARY KEY (connection, object, external_id)
) STRICT;
CREATE UNIQUE INDEX links_of_record ON links (kind, record, connection, object);

CREATE TABLE conflicts (
    seq        INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,
    record     BLOB NOT NULL,
    path       TEXT NOT NULL,
    connection TEXT NOT NULL,
    base       TEXT NOT NULL,
    ours       TEXT NOT NULL,
    theirs     TEXT NOT NULL,
    kept       TEXT NOT NULL,
    open       INTEGER NOT NULL,
    found_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX conflicts_of_record ON conflicts (kind, record);
CREATE UNIQUE INDEX conflicts_open ON conflicts (kind, record, path, connection) WHERE open = 1;

CREATE TABLE pushes (
    connection TEXT NOT NULL,
    object     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    record     BLOB NOT NULL,
    mark       INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    PRIMARY KEY (connection, object, kind, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX pushes_due ON pushes (connection, object, due_at, record);

CREATE TABLE parked (
    connection TEXT NOT NULL,
    object     TEXT NOT NULL,
    key        TEXT NOT NULL,
    inbound    INTEGER NOT NULL,
    code       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    since      INTEGER NOT NULL,
    retry_at   INTEGER,
    PRIMARY KEY (connection, object, key, inbound)
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_inbound_due ON parked (connection, object, retry_at) WHERE inbound = 1 AND retry_at IS NOT NULL;

CREATE TABLE cursors (
    connection TEXT NOT NULL,
    object     TEXT NOT NULL,
    position   TEXT NOT NULL,
    primed     INTEGER NOT NULL,
    stored_at  INTEGER NOT NULL,
    PRIMARY KEY (connection, object)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    -- The order of acceptance.
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE,
    event_type  TEXT NOT NULL,
    source      TEXT NOT NULL,
    dedupe      TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    trace       TEXT NOT NULL,
    body        BLOB NOT NULL,
    UNIQUE (source, dedupe)
) STRICT;

CREATE TABLE deliveries (
    id          BLOB NOT NULL PRIMARY KEY,
    -- The event's place in the order of acceptance.
    seq         INTEGER NOT NULL,
    endpoint    TEXT NOT NULL,
    -- due, delivered or dead
    state       TEXT NOT NULL,
    -- Whether it was never tried: those wait in the order of acceptance, the others by their next moment.
    fresh       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    last_status INTEGER,
    last_error  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_of_event ON deliveries (seq);
-- A delivery stands in at most one of these, so taking one in and ending it touches one small index.
CREATE INDEX deliveries_fresh ON deliveries (endpoint, seq) WHERE state = 'due' AND fresh = 1;
CREATE INDEX deliveries_again ON deliveries (endpoint, next_at, seq) WHERE state = 'due' AND fresh = 0;
CREATE INDEX deliveries_dead ON deliveries (endpoint, id) WHERE state = 'dead';

CREATE TABLE attempts (
    delivery    BLOB NOT NULL,
    at          INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status      INTEGER,
    error       TEXT NOT NULL,
    -- delivered, retry or dead
    next        TEXT NOT NULL,
    retry_at    INTEGER,
    PRIMARY KEY (delivery, at, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals (
    seq          INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    addressed_to TEXT NOT NULL,
    status       INTEGER NOT NULL,
    code         TEXT NOT NULL,
    webhook_id   TEXT NOT NULL,
    body_bytes   INTEGER NOT NULL
) STRICT;

CREATE TABLE stopped_endpoints (
    endpoint TEXT NOT NULL PRIMARY KEY,
    reason   TEXT NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    id         BLOB NOT NULL PRIMARY KEY,
    connection TEXT NOT NULL,
    object     TEXT NOT NULL,
    direction  TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    counts     TEXT NOT NULL,
    error      TEXT NOT NULL
) STRICT;
CREATE INDEX runs_newest ON runs (started_at, id);

CREATE TABLE sealed (
    name   TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- One row that is written to know that writing works.
CREATE TABLE pulse (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    beats INTEGER NOT NULL
) STRICT;
INSERT INTO pulse (one, beats) VALUES (1, 0);
