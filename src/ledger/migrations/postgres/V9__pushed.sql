-- What became of each write to a system: which version of the record it brought where.
CREATE TABLE pushed (
    kind        text COLLATE "C" NOT NULL,
    record      uuid NOT NULL,
    connection  text COLLATE "C" NOT NULL,
    object      text COLLATE "C" NOT NULL,
    at          bigint NOT NULL,
    version     bigint NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    -- created, written, gone, refused or unheard
    outcome     text NOT NULL,
    detail      text NOT NULL,
    run         uuid NOT NULL,
    PRIMARY KEY (kind, record, connection, object, at)
);
