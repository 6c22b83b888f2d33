-- Fields of an object that its system does not know any more: left out until they are back.
CREATE TABLE quarantine (
    connection text COLLATE "C" NOT NULL,
    object     text COLLATE "C" NOT NULL,
    field      text COLLATE "C" NOT NULL,
    reason     text NOT NULL,
    since      bigint NOT NULL,
    PRIMARY KEY (connection, object, field)
);
