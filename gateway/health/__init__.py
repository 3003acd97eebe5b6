"""How deployments are doing right now. Pure: every question and every piece of news comes with the time."""
