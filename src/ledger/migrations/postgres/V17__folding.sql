-- Of several updates of a record that wait for an endpoint the newest goes, and stands for the others, in state `folded`.
-- Which one goes instead of this one.
ALTER TABLE deliveries ADD COLUMN folded_into uuid;
-- The numbers of those that this one stands for; nothing for most.
ALTER TABLE deliveries ADD COLUMN stands_for text;
-- How many were folded.
ALTER TABLE endpoint_sequences ADD COLUMN folded bigint NOT NULL DEFAULT 0;
