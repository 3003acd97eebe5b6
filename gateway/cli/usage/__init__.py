"""`anyport usage` and `anyport requests`: sums and single requests."""
