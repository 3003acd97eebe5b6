"""`anyport top`: what a running gateway does now, on a terminal."""
