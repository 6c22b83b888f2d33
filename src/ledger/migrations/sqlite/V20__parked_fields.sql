-- The fields that it is about: a list of names, nothing where there are none.
ALTER TABLE parked ADD COLUMN fields TEXT;

-- What is parked of a record and its objects is asked for by their ids alone.
CREATE INDEX parked_key ON parked (key);
