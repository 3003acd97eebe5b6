"""Commands on keys, teams and projects, and who changed them."""
