-- The fields that it is about: a list of names, nothing where there are none.
ALTER TABLE parked ADD COLUMN fields text;
