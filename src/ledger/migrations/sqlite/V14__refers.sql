-- Who refers to a record is found by a key. Whatever looks like a record's id is taken for one: who asks by a key looks at
-- the record, and its next change writes its keys anew.
INSERT INTO match_keys (kind, record, key)
SELECT DISTINCT r.kind, r.id, 'refers=' || field.value FROM records r, json_each(r.fields, '$.f') field
WHERE field.type = 'text' AND length(field.value) = 30 AND field.value GLOB '[a-z][a-z][a-z]_*'
ON CONFLICT DO NOTHING;
