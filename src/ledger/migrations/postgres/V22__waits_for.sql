-- The object that something parked on its way in waits for, `object/id`, at the same connection.
ALTER TABLE parked ADD COLUMN waits_for text;

-- Whoever links an object looks who waits for it.
CREATE INDEX parked_waits_for ON parked (connection, waits_for) WHERE waits_for IS NOT NULL;
