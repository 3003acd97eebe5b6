"""How the tables became what they are, step by step; run by `anyport db upgrade` and at every start."""
