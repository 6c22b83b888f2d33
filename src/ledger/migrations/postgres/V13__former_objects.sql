-- Objects that were a record's until it got another one there: what still refers to them means that record.
CREATE TABLE former_objects (
    connection  text COLLATE "C" NOT NULL,
    object      text COLLATE "C" NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    record      uuid NOT NULL,
    PRIMARY KEY (connection, object, external_id)
);
