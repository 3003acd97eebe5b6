"""A plugin of Anyport: a protocol of its own, and a hook."""
