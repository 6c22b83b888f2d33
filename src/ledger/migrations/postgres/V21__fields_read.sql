-- The fields that everything at an object has been read with, and those that the reading of all of it that is under way
-- asks for: lists of names. Nothing was written down before, and all that is mapped counts as read.
ALTER TABLE cursors ADD COLUMN fields_read text;
ALTER TABLE cursors ADD COLUMN fields_asked text;
