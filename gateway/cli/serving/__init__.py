"""`anyport serve`: one process or several, and what each checks before it starts."""
