-- Conflicts get an id, who had said what, what decided, what brought it, and how they ended.
CREATE TABLE conflicts_8 (
    -- A version 7 UUID: conflicts sort by when they were found.
    id          BLOB NOT NULL PRIMARY KEY,
    kind        TEXT NOT NULL,
    record      BLOB NOT NULL,
    path        TEXT NOT NULL,
    connection  TEXT NOT NULL,
    object      TEXT NOT NULL,
    external_id TEXT NOT NULL,
    base        TEXT NOT NULL,
    ours        TEXT NOT NULL,
    theirs      TEXT NOT NULL,
    kept        TEXT NOT NULL,
    ours_by     TEXT NOT NULL,
    theirs_at   INTEGER,
    rule        TEXT NOT NULL,
    winner      TEXT NOT NULL,
    run         BLOB,
    trace       TEXT NOT NULL,
    found_at    INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    -- open, decided, resolved, agreed or withdrawn
    state       TEXT NOT NULL,
    closed_at   INTEGER,
    closed_by   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What was found before keeps its order; only a person left conflicts open, and who won shows in what was kept.
INSERT INTO conflicts_8
SELECT unhex(printf('%012x70008%015x', c.found_at / 1000, c.seq)),
       c.kind, c.record, c.path, c.connection, coalesce(l.object, ''), coalesce(l.external_id, ''),
       c.base, c.ours, c.theirs, c.kept, '', NULL,
       CASE WHEN c.open = 1 THEN 'manual' ELSE '' END,
       CASE WHEN c.open = 1 THEN 'nobody' WHEN c.kept = c.ours THEN 'ours' WHEN c.kept = c.theirs THEN 'theirs'
            ELSE 'both' END,
       NULL, '', c.found_at, 1,
       CASE WHEN c.open = 1 THEN 'open' ELSE 'decided' END,
       CASE WHEN c.open = 1 THEN NULL ELSE c.found_at END, ''
FROM conflicts c
LEFT JOIN (SELECT kind, record, connection, min(object) AS object, external_id FROM links
           GROUP BY kind, record, connection) l
    ON l.kind = c.kind AND l.record = c.record AND l.connection = c.connection;

DROP TABLE conflicts;
ALTER TABLE conflicts_8 RENAME TO conflicts;
CREATE INDEX conflicts_of_record ON conflicts (kind, record, id);
CREATE INDEX conflicts_waiting ON conflicts (id) WHERE state = 'open';
CREATE UNIQUE INDEX conflicts_open ON conflicts (kind, record, path, connection, object) WHERE state = 'open';
