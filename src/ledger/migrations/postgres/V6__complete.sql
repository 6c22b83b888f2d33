-- Whether we made the object that the link is to.
ALTER TABLE links ADD COLUMN made boolean NOT NULL DEFAULT false;
-- Everything that was there at this moment has been read; and when the reading that is under way began.
ALTER TABLE cursors ADD COLUMN complete_at bigint;
ALTER TABLE cursors ADD COLUMN round_at bigint;
UPDATE cursors SET complete_at = stored_at WHERE primed;
ALTER TABLE cursors DROP COLUMN primed;
