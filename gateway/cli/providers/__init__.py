"""Commands on providers: which there are, whether they answer, local servers found."""
