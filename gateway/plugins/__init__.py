"""What others may add: protocols and hooks, of installed packages that the settings name."""
