-- How an event arrived: headers, what it was verified by, why the hub says it. As the relay writes it; nothing for many.
ALTER TABLE events ADD COLUMN arrival TEXT;
