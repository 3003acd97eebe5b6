"""What must not be lost: usage, keys and what was done to them, in SQLite or PostgreSQL, behind a journal."""
