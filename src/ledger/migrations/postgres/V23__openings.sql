-- The number of the process that was the last to open this database.
CREATE SEQUENCE openings;
