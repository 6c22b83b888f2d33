-- Many deliveries that are made due again, a bite at a time.
CREATE TABLE replays (
    id             BLOB NOT NULL PRIMARY KEY,
    -- Which deliveries, as JSON.
    wanted         TEXT NOT NULL,
    -- running, done or cancelled
    state          TEXT NOT NULL,
    total          INTEGER NOT NULL,
    begun          INTEGER NOT NULL,
    -- The delivery that it came to.
    place          BLOB,
    -- When the last bite was made due, and at which endpoints, as JSON.
    bite_at        INTEGER,
    bite_endpoints TEXT NOT NULL,
    made_at        INTEGER NOT NULL,
    ended_at       INTEGER
) STRICT;
CREATE INDEX replays_running ON replays (id) WHERE state = 'running';
