"""Which providers there are and what their names mean."""
