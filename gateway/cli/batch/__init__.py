"""`anyport batch`: files of requests, sent to a running gateway."""
