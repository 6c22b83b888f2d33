-- How each connection stands with its system: the account that its records belong to, and what stops it, if anything does.
CREATE TABLE standings (
    connection TEXT NOT NULL PRIMARY KEY,
    account    TEXT,
    -- Empty when it may be used.
    code       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
