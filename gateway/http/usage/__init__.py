"""What was used, as rows and snapshots: for operators, for clients and for the command line."""
