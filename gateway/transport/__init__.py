"""The only network I/O of a request: an interface (`base`) and two transports (`builtin`, `stock`)."""
