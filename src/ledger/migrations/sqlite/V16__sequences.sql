-- How many deliveries each endpoint was given so far. Counted apart, because deliveries are removed when they are old.
CREATE TABLE endpoint_sequences (
    endpoint TEXT NOT NULL PRIMARY KEY,
    last     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which of its endpoint's it is, from 1 and without gaps; nothing for those that were there before this was counted.
ALTER TABLE deliveries ADD COLUMN sequence INTEGER;
