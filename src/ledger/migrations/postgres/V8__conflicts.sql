-- Conflicts get an id, who had said what, what decided, what brought it, and how they ended.
CREATE TABLE conflicts_8 (
    -- A version 7 UUID: conflicts sort by when they were found.
    id          uuid NOT NULL PRIMARY KEY,
    kind        text COLLATE "C" NOT NULL,
    record      uuid NOT NULL,
    path        text COLLATE "C" NOT NULL,
    connection  text COLLATE "C" NOT NULL,
    object      text COLLATE "C" NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    base        text NOT NULL,
    ours        text NOT NULL,
    theirs      text NOT NULL,
    kept        text NOT NULL,
    ours_by     text NOT NULL,
    theirs_at   bigint,
    rule        text NOT NULL,
    winner      text NOT NULL,
    run         uuid,
    trace       text NOT NULL,
    found_at    bigint NOT NULL,
    revision    bigint NOT NULL,
    -- open, decided, resolved, agreed or withdrawn
    state       text NOT NULL,
    closed_at   bigint,
    closed_by   text NOT NULL
);

-- What was found before keeps its order; only a person left conflicts open, and who won shows in what was kept.
INSERT INTO conflicts_8
SELECT (lpad(to_hex(c.found_at / 1000), 12, '0') || '70008' || lpad(to_hex(c.seq), 15, '0'))::uuid,
       c.kind, c.record, c.path, c.connection, coalesce(l.object, ''), coalesce(l.external_id, ''),
       c.base, c.ours, c.theirs, c.kept, '', NULL,
       CASE WHEN c.open THEN 'manual' ELSE '' END,
       CASE WHEN c.open THEN 'nobody' WHEN c.kept = c.ours THEN 'ours' WHEN c.kept = c.theirs THEN 'theirs'
            ELSE 'both' END,
       NULL, '', c.found_at, 1,
       CASE WHEN c.open THEN 'open' ELSE 'decided' END,
       CASE WHEN c.open THEN NULL ELSE c.found_at END, ''
FROM conflicts c
LEFT JOIN (SELECT DISTINCT ON (kind, record, connection) kind, record, connection, object, external_id FROM links
           ORDER BY kind, record, connection, object) l
    ON l.kind = c.kind AND l.record = c.record AND l.connection = c.connection;

DROP TABLE conflicts;
ALTER TABLE conflicts_8 RENAME TO conflicts;
CREATE INDEX conflicts_of_record ON conflicts (kind, record, id);
CREATE INDEX conflicts_waiting ON conflicts (id) WHERE state = 'open';
CREATE UNIQUE INDEX conflicts_open ON conflicts (kind, record, path, connection, object) WHERE state = 'open';
