"""Files, and batches of requests that run when there is room."""
