"""The edge: the hardened server side of HTTP, the inference endpoints and the shell."""
