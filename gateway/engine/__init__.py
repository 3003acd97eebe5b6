"""Running a request: the attempt loop and what the client hears of its failures."""
