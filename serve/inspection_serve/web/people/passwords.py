"""Passwords and PINs: argon2id hashes, rules, and the time a wrong one costs."""

from __future__ import annotations

import secrets
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

SHORTEST = 10
"""Characters of a password, at least."""
PIN_DIGITS = (4, 8)
"""Digits of a PIN, least and most; it works only at a trusted terminal."""

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # no letters that look alike


@cache
def _hasher() -> PasswordHash:
    return PasswordHash((Argon2Hasher(),))


@cache
def _nobody() -> str:
    return _hasher().hash("nobody has this password")


def hash_secret(secret: str) -> str:
    """Return the argon2id hash of a password or PIN."""
    return _hasher().hash(secret)


def verify_secret(secret: str, stored: str | None) -> bool:
    """Tell whether a secret is right; takes the same time for a person that does not exist (None)."""
    if stored is None:
        _hasher().verify(secret, _nobody())
        return False
    return _hasher().verify(secret, stored)


def temporary() -> str:
    """Return a password to be told aloud: three groups of five, 74 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(3))


def weakness(password: str, name: str) -> str | None:
    """Return a code for what is wrong with a new password: `short`, `like_name`, `simple`; else None."""
    if len(password) < SHORTEST:
        return "short"
    if name and name.lower() in password.lower():
        return "like_name"
    if len(set(password)) < 5:
        return "simple"
    return None
