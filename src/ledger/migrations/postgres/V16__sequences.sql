-- How many deliveries each endpoint was given so far. Counted apart, because deliveries are removed when they are old.
-- A row changes with every group of events that is taken in, so it stays where it is.
CREATE TABLE endpoint_sequences (
    endpoint text COLLATE "C" NOT NULL PRIMARY KEY,
    last     bigint NOT NULL
) WITH (fillfactor = 50);

-- Which of its endpoint's it is, from 1 and without gaps; nothing for those that were there before this was counted.
ALTER TABLE deliveries ADD COLUMN sequence bigint;
