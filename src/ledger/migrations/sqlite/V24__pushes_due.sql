-- SQLite finds single pushes by their key.
SELECT 1;
