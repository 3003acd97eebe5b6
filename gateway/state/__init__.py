"""What replicas tell each other and may lose: an interface (`base`), nobody to tell (`memory`), and Redis (`redis`)."""
