"""Public model names, plans and deployments."""
