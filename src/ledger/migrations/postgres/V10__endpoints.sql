-- How each endpoint stands: whether it is stopped, and how it has answered lately.
CREATE TABLE endpoint_states (
    endpoint      text COLLATE "C" NOT NULL PRIMARY KEY,
    -- paused or disabled; nothing while it is sent to
    stop          text,
    reason        text NOT NULL DEFAULT '',
    stopped_at    bigint,
    -- In a row: tries that failed by the endpoint's own fault, and tries that did not arrive.
    failures      bigint NOT NULL DEFAULT 0,
    failed        bigint NOT NULL DEFAULT 0,
    failing_since bigint,
    -- How often in a row its breaker opened; 0 while it is closed.
    opened        bigint NOT NULL DEFAULT 0,
    -- Nothing is sent before.
    rest_until    bigint,
    -- When the newest try began, for those with a rate.
    sent_at       bigint
);
INSERT INTO endpoint_states (endpoint, stop, reason, stopped_at)
SELECT endpoint, 'disabled', reason, at FROM stopped_endpoints;
DROP TABLE stopped_endpoints;

-- Deliveries of one line arrive one after another: all but the first wait in the state `held`.
ALTER TABLE deliveries ADD COLUMN line text COLLATE "C";
CREATE INDEX deliveries_in_line ON deliveries (endpoint, line, seq) WHERE line IS NOT NULL AND state IN ('due', 'held');
