"""The admin API: what operators read and do, on a door of its own."""
