"""`Secret` and `SecretWiped` as credentials call them; they are made a few layers below, since settings have them."""

from gateway.secret import Secret, SecretWiped

__all__ = ["Secret", "SecretWiped"]
