-- Whether we made the object that the link is to.
ALTER TABLE links ADD COLUMN made INTEGER NOT NULL DEFAULT 0;
-- Everything that was there at this moment has been read; and when the reading that is under way began.
ALTER TABLE cursors ADD COLUMN complete_at INTEGER;
ALTER TABLE cursors ADD COLUMN round_at INTEGER;
UPDATE cursors SET complete_at = stored_at WHERE primed = 1;
ALTER TABLE cursors DROP COLUMN primed;
