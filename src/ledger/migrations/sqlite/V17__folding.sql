-- Of several updates of a record that wait for an endpoint the newest goes, and stands for the others, in state `folded`.
-- Which one goes instead of this one.
ALTER TABLE deliveries ADD COLUMN folded_into BLOB;
-- The numbers of those that this one stands for; nothing for most.
ALTER TABLE deliveries ADD COLUMN stands_for TEXT;
-- How many were folded.
ALTER TABLE endpoint_sequences ADD COLUMN folded INTEGER NOT NULL DEFAULT 0;
