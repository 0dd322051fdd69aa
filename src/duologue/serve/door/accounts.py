"""Accounts: names, roles and passwords, and the keys of their programs."""

import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from duologue.errors import GuardError
from duologue.serve.door import passwords
from duologue.serve.door.book import Book, digest, is_id
from duologue.serve.visitor import Role
from duologue.store import Row

ROLES: tuple[Role, ...] = ("admin", "user")
KEY_PREFIX = "dk"
MAX_KEYS = 50
MAX_KEY_NAME_CHARS = 80
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_USED_STEP_SECONDS = 60.0  # a key's last use is written at most so often


@dataclass(frozen=True, slots=True)
class Account:
    """An account.

    Attributes:
        id: Under which chats, memories and proofs of age are kept; never used again, also when the name is.
        name: What its owner types to come in.
        role: What its owner may do.
        made_at: Seconds since 1970.
    """

    id: str
    name: str
    role: Role
    made_at: float


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key with which a program comes in as an account.

    Attributes:
        id: Its first part, which is no secret.
        account: Whose it is.
        name: What its owner calls it.
        made_at: Seconds since 1970.
        used_at: Seconds since 1970, to the minute; 0 when it never was.
        key: The whole key, only when it has just been made.
    """

    id: str
    account: Account
    name: str
    made_at: float
    used_at: float = 0.0
    key: str = field(default="", repr=False)


class Accounts:
    """The accounts of a home. Threads may share it.

    Args:
        book: Where they are kept.
    """

    def __init__(self, book: Book) -> None:
        """Keep the book."""
        self._book = book

    def exist(self) -> bool:
        """Return whether there is any."""
        return bool(self._book.read("SELECT id FROM accounts LIMIT 1"))

    def listed(self) -> tuple[Account, ...]:
        """Return every account, by name."""
        return tuple(_account(row) for row in self._book.read("SELECT * FROM accounts ORDER BY name"))

    def named(self, name: str) -> Account:
        """Return the account of a name.

        Raises:
            GuardError: With reason `not_found`.
        """
        found = self._row("name", _plain(name))
        if found is None:
            raise _no_account()
        return _account(found)

    def of(self, account_id: str) -> Account:
        """Return the account of an id.

        Raises:
            GuardError: With reason `not_found`.
        """
        found = self._row("id", account_id)
        if found is None:
            raise _no_account()
        return _account(found)

    def add(self, name: str, password: str, *, role: Role) -> Account:
        """Make an account.

        Raises:
            GuardError: The name is taken or not plain, or the password is weak.
        """
        plain = _plain(name)
        if not _NAME.fullmatch(plain):
            raise GuardError(
                f"'{name[:80]}' cannot be the name of an account",
                reason="bad_name",
                where="name",
                needed="1 to 64 of the characters a-z 0-9 . _ @ + -, a letter or digit first",
            )
        passwords.check_strength(password, name=plain)
        account = Account(f"a-{secrets.token_hex(8)}", plain, role, self._book.clock())
        stored = passwords.hashed(password)
        with self._book.write() as cursor:
            if cursor.execute("SELECT id FROM accounts WHERE name = ?", (plain,)).fetchone() is not None:
                raise GuardError(f"there is an account '{plain}' already", reason="name_taken", where="name")
            cursor.execute(
                "INSERT INTO accounts (id, name, role, password, made_at) VALUES (?, ?, ?, ?, ?)",
                (account.id, account.name, account.role, stored, account.made_at),
            )
        return account

    def require_removable(self, account_id: str) -> None:
        """Refuse what `remove` would refuse.

        Raises:
            GuardError: With reason `not_found` or `last_admin`.
        """
        _require_removable(self._book.read(_ROLES), account_id)

    def remove(self, account_id: str) -> None:
        """Remove an account with its keys, logins and proof of age.

        Raises:
            GuardError: With reason `not_found`, or `last_admin` when others would be left without an admin.
        """
        with self._book.write() as cursor:
            _require_removable(cursor.execute(_ROLES).fetchall(), account_id)
            cursor.execute("DELETE FROM api_keys WHERE account_id = ?", (account_id,))
            cursor.execute("DELETE FROM logins WHERE account_id = ?", (account_id,))
            subject = (f"account:{account_id}",)
            cursor.execute("DELETE FROM age_requests WHERE subject = ?", subject)
            cursor.execute("DELETE FROM age_proofs WHERE subject = ?", subject)
            cursor.execute("DELETE FROM accounts WHERE id = ?", (account_id,))

    def set_password(self, account_id: str, password: str, *, keeps_keys: bool = True) -> None:
        """Change a password and end every login of its account.

        Args:
            account_id: Whose.
            password: The new one.
            keeps_keys: Whether the account's keys go on. They do where the owner changes the password, who sees them.

        Raises:
            GuardError: With reason `not_found` or `weak_password`.
        """
        passwords.check_strength(password, name=self.of(account_id).name)
        stored = passwords.hashed(password)
        with self._book.write() as cursor:
            cursor.execute("UPDATE accounts SET password = ? WHERE id = ?", (stored, account_id))
            cursor.execute("DELETE FROM logins WHERE account_id = ?", (account_id,))
            if not keeps_keys:
                cursor.execute("DELETE FROM api_keys WHERE account_id = ?", (account_id,))

    def with_password(self, name: str, password: str) -> Account | None:
        """Return the account with this name and password; None after as much work when there is none."""
        row = self._row("name", _plain(name))
        if not passwords.matches(row["password"] if row is not None else "", password) or row is None:
            return None
        if passwords.is_outdated(row["password"]):
            renewed = passwords.hashed(password)
            with self._book.write() as cursor:
                cursor.execute(
                    "UPDATE accounts SET password = ? WHERE id = ? AND password = ?",
                    (renewed, row["id"], row["password"]),
                )
        return _account(row)

    def add_key(self, account_id: str, name: str) -> ApiKey:
        """Make a key; this is the only time it is there whole.

        Raises:
            GuardError: With reason `not_found`, `bad_name` or `too_many_keys`.
        """
        name = " ".join(name.split())
        if not 1 <= len(name) <= MAX_KEY_NAME_CHARS or not name.isprintable():
            raise GuardError(
                f"the name of the key has {len(name)} characters",
                reason="bad_name",
                where="name",
                needed=f"1 to {MAX_KEY_NAME_CHARS} that can be printed",
            )
        key_id = secrets.token_hex(4)
        key = f"{KEY_PREFIX}-{key_id}-{secrets.token_urlsafe(32)}"
        account, now = self.of(account_id), self._book.clock()
        with self._book.write() as cursor:
            rows = cursor.execute("SELECT id FROM api_keys WHERE account_id = ?", (account_id,)).fetchall()
            if len(rows) >= MAX_KEYS:
                raise GuardError(
                    f"the account has {len(rows)} keys",
                    reason="too_many_keys",
                    needed=f"at most {MAX_KEYS}",
                    action="Remove one that is not used.",
                )
            cursor.execute(
                "INSERT INTO api_keys (id, key_hash, account_id, name, made_at) VALUES (?, ?, ?, ?, ?)",
                (key_id, digest(key), account_id, name, now),
            )
        return ApiKey(key_id, account, name, now, key=key)

    def keys(self, account_id: str) -> tuple[ApiKey, ...]:
        """Return the keys of an account, the oldest first."""
        rows = self._book.read(f"{_KEYS} WHERE api_keys.account_id = ? ORDER BY api_keys.made_at", (account_id,))
        return tuple(_key(row) for row in rows)

    def remove_key(self, account_id: str, key_id: str) -> None:
        """Remove a key.

        Raises:
            GuardError: With reason `not_found`, also when it is another account's.
        """
        rows: Sequence[Row] = ()
        if is_id(key_id):
            rows = self._book.read("SELECT id FROM api_keys WHERE id = ? AND account_id = ?", (key_id, account_id))
        if not rows:
            raise GuardError("there is no such key", reason="not_found", where="key")
        with self._book.write() as cursor:
            cursor.execute("DELETE FROM api_keys WHERE id = ? AND account_id = ?", (key_id, account_id))

    def with_key(self, key: str) -> ApiKey | None:
        """Return the key that a program has shown, and note its use; None when there is none."""
        parts = key.split("-", 2)
        if len(parts) != 3 or parts[0] != KEY_PREFIX or not is_id(parts[1]):
            return None
        rows = self._book.read(f"{_KEYS} WHERE api_keys.id = ? AND api_keys.key_hash = ?", (parts[1], digest(key)))
        if not rows:
            return None
        found = _key(rows[0])
        now = self._book.clock()
        if abs(now - found.used_at) >= _USED_STEP_SECONDS:
            with self._book.write() as cursor:
                cursor.execute("UPDATE api_keys SET used_at = ? WHERE id = ?", (now, found.id))
        return found

    def has_key(self, key_id: str) -> bool:
        """Return whether a key that has come in is still there."""
        return bool(self._book.read("SELECT id FROM api_keys WHERE id = ?", (key_id,)))

    def _row(self, column: str, value: str) -> Row | None:
        assert column in ("id", "name")
        if not (_NAME.fullmatch(value) if column == "name" else is_id(value)):
            return None
        rows = self._book.read(f"SELECT * FROM accounts WHERE {column} = ?", (value,))  # noqa: S608  (two columns)
        return rows[0] if rows else None


_ROLES = "SELECT id, role FROM accounts"
_KEYS = """
    SELECT api_keys.id AS key_id, api_keys.name AS key_name, api_keys.made_at AS key_made_at, api_keys.used_at,
        accounts.id, accounts.name, accounts.role, accounts.made_at
    FROM api_keys JOIN accounts ON accounts.id = api_keys.account_id
    """


def _account(row: Row) -> Account:
    return Account(row["id"], row["name"], row["role"], row["made_at"])


def _key(row: Row) -> ApiKey:
    return ApiKey(row["key_id"], _account(row), row["key_name"], row["key_made_at"], row["used_at"])


def _plain(name: str) -> str:
    """Return a name as it is kept: what looks alike or differs in case alone is one account."""
    return unicodedata.normalize("NFKC", name.strip())[:256].casefold()


def _require_removable(rows: Sequence[Row], account_id: str) -> None:
    if account_id not in {row["id"] for row in rows}:
        raise _no_account()
    others = [row for row in rows if row["id"] != account_id]
    if others and all(row["role"] != "admin" for row in others):
        raise GuardError(
            "this is the last admin, and other accounts are left",
            reason="last_admin",
            where="account",
            action="Make another admin first.",
        )


def _no_account() -> GuardError:
    return GuardError("there is no such account", reason="not_found", where="account")
