"""The parts behind the door, put together once."""

import asyncio
import hmac
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from duologue.config import Home
from duologue.errors import GuardError
from duologue.serve.door.accounts import Account, Accounts
from duologue.serve.door.age import AgeGate, open_age_gate
from duologue.serve.door.book import BOOK_NAME, Book
from duologue.serve.door.logins import Logins
from duologue.serve.door.open_requests import WATCH_SECONDS, OpenRequests
from duologue.serve.door.origin import Site
from duologue.serve.door.throttle import Throttle
from duologue.serve.visitor import Role, Visitor

_LOOK_SECONDS = 1.0  # how soon the first account, made by another process, is seen
_LOOKUPS_AT_ONCE = 8  # of their own threads: whoever waits for a model must not hold up who comes in
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Door:
    """Who may come in.

    Attributes:
        accounts: The accounts.
        logins: The browsers that are logged in.
        age: Who may talk to a character that is not for everyone.
        site: The address of this server.
        throttle: What makes guessing slow.
        requests: What is being answered.
        book: Where all of it is kept.
    """

    def __init__(
        self,
        book: Book,
        home: Home,
        *,
        shared_key: str,
        redis_url: str = "",
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        """Put the parts together; `Door.open` is the way in."""
        self.accounts = Accounts(book)
        self.logins = Logins(book, shared_key=shared_key)
        self.age: AgeGate = open_age_gate(book, home)
        self.site = Site(home.server.public_url, frame_ancestors=home.server.frame_ancestors)
        self.throttle = Throttle(redis_url)
        self.requests = OpenRequests(self.is_in, watch_seconds=watch_seconds)
        self.book = book
        self._shared_key = shared_key.encode()
        self._has_had_accounts = False
        self._looked_at = -_LOOK_SECONDS
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="door")

    @classmethod
    def open(
        cls,
        folder: Path,
        home: Home,
        *,
        shared_key: str = "",
        database_url: str = "",
        redis_url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> "Door":
        """Return the door of a home folder.

        Args:
            folder: The home; `accounts.sqlite` in it keeps the accounts.
            home: What the operator has set.
            shared_key: The one key that opens everything; empty for none.
            database_url: Address of a PostgreSQL server that keeps the accounts instead of the file.
            redis_url: Where replicas count attempts to log in together; empty counts in this process.
            clock: The time.

        Raises:
            ConfigError: What the operator has set about proxies or proofs of age cannot be used.
        """
        book = Book(database_url or folder / BOOK_NAME, folder=folder, clock=clock)
        return cls(book, home, shared_key=shared_key, redis_url=redis_url)

    @property
    def has_shared_key(self) -> bool:
        """Whether there is one key that opens everything."""
        return bool(self._shared_key)

    def is_guarded(self) -> bool:
        """Return whether coming in needs a key or a login. Once it does, it does until the server ends.

        That the last account is removed must not open a server to everyone.

        Raises:
            DataError: The accounts cannot be read.
        """
        self._has_had_accounts = self._has_had_accounts or self.accounts.exist()
        return self._has_had_accounts or self.has_shared_key

    async def needs_login(self) -> bool:
        """As `is_guarded`, with what was found a moment ago."""
        if self._has_had_accounts or self.has_shared_key:
            return True
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return False
        is_guarded = await self.in_thread(self.is_guarded)
        self._looked_at = now
        return is_guarded

    async def has_accounts(self) -> bool:
        """Return whether there is an account to log in to."""
        return await self.in_thread(self.accounts.exist)

    def is_shared_key(self, key: str) -> bool:
        """Return whether a key is the one that opens everything."""
        return self.has_shared_key and hmac.compare_digest(key.encode("utf-8", "replace"), self._shared_key)

    def with_key(self, key: str) -> Visitor | None:
        """Return who shows a key; None when it is none of ours."""
        if self.is_shared_key(key):
            return Visitor(way="shared_key", is_local=False)
        found = self.accounts.with_key(key)
        if found is None:
            return None
        account = found.account
        return Visitor(account.id, account.name, account.role, "api_key", found.id, is_local=False)

    async def is_in(self, visitor: Visitor) -> bool:
        """Return whether a visitor who came in still may be in."""
        if visitor.login_id:
            return await self.in_thread(self.logins.lasts, visitor.login_id)
        if visitor.key_id:
            return await self.in_thread(self.accounts.has_key, visitor.key_id)
        return visitor.way != "local" or not await self.needs_login()

    async def log_out(self, token: str) -> None:
        """End a login and the streams that run on it."""
        login = await self.in_thread(self.logins.find, token)
        await self.in_thread(self.logins.end, token)
        if login is not None:
            self.requests.end(lambda visitor: visitor.login_id == login.id)

    def add_account(self, name: str, password: str, *, role: Role) -> Account:
        """Make an account; from the first one on, everybody must log in.

        Raises:
            GuardError: The name is taken or not plain, or the password is weak.
        """
        account = self.accounts.add(name, password, role=role)
        self._has_had_accounts = True
        return account

    def set_password(self, account_id: str, password: str) -> None:
        """Change a password for somebody; every login and every key of the account ends, and what streams to them.

        Raises:
            GuardError: The account is unknown or the password weak.
        """
        self.accounts.set_password(account_id, password, keeps_keys=False)
        self.requests.end(lambda visitor: visitor.account == account_id)

    def end_streams(self, account_id: str) -> None:
        """End what streams to the browsers that were logged in to an account."""
        self.requests.end(lambda visitor: visitor.account == account_id and bool(visitor.login_id))

    def remove_account(self, account_id: str) -> None:
        """Remove an account; everything that runs for it ends.

        Raises:
            GuardError: The account is unknown, or the last admin.
        """
        self._has_had_accounts = True
        self.accounts.remove(account_id)
        self.age.forget(f"account:{account_id}")
        self.requests.end(lambda visitor: visitor.account == account_id)

    def remove_key(self, account_id: str, key_id: str) -> None:
        """Remove a key; what it streams ends.

        Raises:
            GuardError: The account has no such key.
        """
        self.accounts.remove_key(account_id, key_id)
        self.requests.end(lambda visitor: visitor.key_id == key_id)

    def check_old_password(self, visitor: Visitor, password: str, *, address: str) -> None:
        """Refuse who does not know the password of the account they are logged in to.

        Raises:
            GuardError: With reason `forbidden` or `rate_limit_exceeded`.
        """
        self.throttle.attempt(address=address, name=visitor.name)
        if self.accounts.with_password(visitor.name, password) is None:
            raise GuardError("the old password is wrong", reason="forbidden", where="old")

    async def in_thread(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a look into the book finds, without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Close the book."""
        self._threads.shutdown()
        self.throttle.close()
        self.book.close()
