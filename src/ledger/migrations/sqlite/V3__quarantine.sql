-- Fields of an object that its system does not know any more: left out until they are back.
CREATE TABLE quarantine (
    connection TEXT NOT NULL,
    object     TEXT NOT NULL,
    field      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    since      INTEGER NOT NULL,
    PRIMARY KEY (connection, object, field)
) STRICT, WITHOUT ROWID;
