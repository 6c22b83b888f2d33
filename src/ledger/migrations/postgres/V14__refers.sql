-- Who refers to a record is found by a key. Whatever looks like a record's id is taken for one: who asks by a key looks at
-- the record, and its next change writes its keys anew.
INSERT INTO match_keys (kind, record, key)
SELECT DISTINCT r.kind, r.id, 'refers=' || (regexp_matches(r.fields, '"([a-z]{3}_[0-9a-z]{26})"', 'g'))[1] FROM records r
ON CONFLICT DO NOTHING;
