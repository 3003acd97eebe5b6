"""Protocol translation as pure functions: values in, values out; no network, clock, randomness or environment."""
