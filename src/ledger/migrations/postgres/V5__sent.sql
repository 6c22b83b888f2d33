-- What was written without being heard of, as a list: when it comes back, it is not a change of theirs.
ALTER TABLE pushes ADD COLUMN sent text;
