-- Through whom an event came before its source said it; nothing for most.
ALTER TABLE events ADD COLUMN hops text;
