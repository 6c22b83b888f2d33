-- What became of each write to a system: which version of the record it brought where.
CREATE TABLE pushed (
    kind        TEXT NOT NULL,
    record      BLOB NOT NULL,
    connection  TEXT NOT NULL,
    object      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    external_id TEXT NOT NULL,
    -- created, written, gone, refused or unheard
    outcome     TEXT NOT NULL,
    detail      TEXT NOT NULL,
    run         BLOB NOT NULL,
    PRIMARY KEY (kind, record, connection, object, at)
) STRICT, WITHOUT ROWID;
