-- Objects that were a record's until it got another one there: what still refers to them means that record.
CREATE TABLE former_objects (
    connection  TEXT NOT NULL,
    object      TEXT NOT NULL,
    external_id TEXT NOT NULL,
    kind        TEXT NOT NULL,
    record      BLOB NOT NULL,
    PRIMARY KEY (connection, object, external_id)
) STRICT, WITHOUT ROWID;
