-- Many deliveries that are made due again, a bite at a time.
CREATE TABLE replays (
    id             uuid NOT NULL PRIMARY KEY,
    -- Which deliveries, as JSON.
    wanted         text NOT NULL,
    -- running, done or cancelled
    state          text NOT NULL,
    total          bigint NOT NULL,
    begun          bigint NOT NULL,
    -- The delivery that it came to.
    place          uuid,
    -- When the last bite was made due, and at which endpoints, as JSON.
    bite_at        bigint,
    bite_endpoints text NOT NULL,
    made_at        bigint NOT NULL,
    ended_at       bigint
);
CREATE INDEX replays_running ON replays (id) WHERE state = 'running';
