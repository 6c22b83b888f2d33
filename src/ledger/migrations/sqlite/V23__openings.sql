-- Only PostgreSQL needs something to tell that others have written.
SELECT 1;
