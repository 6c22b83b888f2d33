-- When the object had last changed by its system's clock, as it was last seen: an older state of it is no news.
ALTER TABLE links ADD COLUMN modified INTEGER;
