-- Where little is known about a table, as while it fills for the first time, the planner found single pushes by this
-- index, and read all of their object each time. A partial one is for those only who say its condition, which always holds.
DROP INDEX pushes_due;
CREATE INDEX pushes_due ON pushes (connection, object, due_at, record) WHERE attempts >= 0;
