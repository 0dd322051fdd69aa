"""The door: who comes in, who may see what is for adults, and the accounts behind both."""

from duologue.serve.door.access import Access
from duologue.serve.door.accounts import ROLES, Account, Accounts, ApiKey
from duologue.serve.door.age import AgeGate, AgeProvider
from duologue.serve.door.book import BOOK_NAME, Book
from duologue.serve.door.door import Door
from duologue.serve.door.origin import is_loopback

__all__ = [
    "BOOK_NAME",
    "ROLES",
    "Access",
    "Account",
    "Accounts",
    "AgeGate",
    "AgeProvider",
    "ApiKey",
    "Book",
    "Door",
    "is_loopback",
]
