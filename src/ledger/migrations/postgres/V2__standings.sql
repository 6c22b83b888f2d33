-- How each connection stands with its system: the account that its records belong to, and what stops it, if anything does.
CREATE TABLE standings (
    connection text COLLATE "C" NOT NULL PRIMARY KEY,
    account    text,
    -- Empty when it may be used.
    code       text NOT NULL,
    reason     text NOT NULL,
    since      bigint NOT NULL
);
