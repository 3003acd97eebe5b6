"""What operators see: metrics, the access log and the operational log."""
