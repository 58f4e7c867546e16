"""Secrets that log in: they are shown once, and only their hash is kept."""

import hashlib
import secrets


def new_secret() -> str:
    """256 random bits, as 43 characters that may be in a URL."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """SHA-256 in hex: a fast hash is enough, because nobody can guess 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
