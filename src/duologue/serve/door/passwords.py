"""Passwords: argon2id, with the same work for a name that does not exist as for one that does."""

import functools
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from duologue.errors import GuardError

MIN_CHARS = 10
MAX_CHARS = 256
# OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane. About 20 ms.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16)
_AT_ONCE = threading.BoundedSemaphore(4)  # so that many logins at once cannot fill the memory


def check_strength(password: str, *, name: str) -> None:
    """Refuse a password that is too short, too long, or the name itself.

    Raises:
        GuardError: With reason `weak_password`.
    """
    num_chars = len(_normal(password))
    if not MIN_CHARS <= num_chars <= MAX_CHARS:
        raise GuardError(
            f"the password has {num_chars} characters",
            reason="weak_password",
            where="password",
            needed=f"{MIN_CHARS} to {MAX_CHARS}",
            action="Four or five random words make a good one.",
        )
    if _normal(password).casefold() == name.casefold():
        raise GuardError("the password is the name", reason="weak_password", where="password")


def hashed(password: str) -> str:
    """Return what is stored of a password."""
    with _AT_ONCE:
        return _HASHER.hash(_normal(password))


def matches(stored: str, password: str) -> bool:
    """Return whether a password is the stored one; without a stored one, work as long and return False."""
    with _AT_ONCE:
        try:
            _HASHER.verify(stored or _nobodys(), _normal(password[: MAX_CHARS * 4]))
        except (VerificationError, InvalidHashError):
            return False
    return bool(stored)


def is_outdated(stored: str) -> bool:
    """Return whether a password was hashed with weaker settings than today's."""
    return _HASHER.check_needs_rehash(stored)


@functools.cache
def _nobodys() -> str:
    return _HASHER.hash("no account has this password")


def _normal(password: str) -> str:
    """Return a password as it is hashed: two keyboards may write one letter in two ways (RFC 8265, OpaqueString)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "replace").decode()
