"""The API that clients call: inference, models, files, batches, a key's own usage."""
