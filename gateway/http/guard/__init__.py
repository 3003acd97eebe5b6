"""What stands between the socket and the application: well-formed requests, deadlines, caps."""
