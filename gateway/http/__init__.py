"""HTTP towards clients and operators: what is common to both, the outermost ring and the server."""
