"""Logins: what a browser may show instead of a password or a key, kept here and not in the cookie."""

import secrets
from dataclasses import dataclass

from duologue.serve.door.book import Book, digest
from duologue.serve.visitor import LOCAL_ACCOUNT, Role, Visitor

LOGIN_SECONDS = 30 * 24 * 3600.0
MAX_LOGINS = 50  # of one account; the oldest ends first
MAX_SHARED_LOGINS = 10_000  # of the one key, which many may have


@dataclass(frozen=True, slots=True)
class Login:
    """A browser that is logged in.

    Attributes:
        id: No secret.
        visitor: Who it is.
    """

    id: str
    visitor: Visitor


class Logins:
    """The logins of a home. Threads may share it.

    Args:
        book: Where they are kept.
        shared_key: The key that many share; a login with it ends when it changes. Empty without one.
    """

    def __init__(self, book: Book, *, shared_key: str) -> None:
        """Keep the book."""
        self._book = book
        self._key_mark = digest(f"login {shared_key}") if shared_key else ""

    def begin(self, account_id: str, *, old_token: str = "") -> str:
        """Return the token of a new login; one that the browser had before ends.

        Args:
            account_id: Whose; `LOCAL_ACCOUNT` for who has the shared key.
            old_token: What the browser showed until now.
        """
        token = secrets.token_urlsafe(32)
        is_shared = account_id == LOCAL_ACCOUNT
        now = self._book.clock()
        with self._book.write() as cursor:
            cursor.execute("DELETE FROM logins WHERE expires_at <= ? OR token_hash = ?", (now, digest(old_token)))
            cursor.execute(
                """DELETE FROM logins WHERE account_id = :account AND id NOT IN (
                    SELECT id FROM logins WHERE account_id = :account ORDER BY made_at DESC, id LIMIT :kept)""",
                {"account": account_id, "kept": (MAX_SHARED_LOGINS if is_shared else MAX_LOGINS) - 1},
            )
            cursor.execute(
                "INSERT INTO logins (id, token_hash, account_id, key_mark, made_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    f"l-{secrets.token_hex(8)}",
                    digest(token),
                    account_id,
                    self._key_mark if is_shared else "",
                    now,
                    now + LOGIN_SECONDS,
                ),
            )
        return token

    def find(self, token: str) -> Login | None:
        """Return the login of a token, as long as it lasts."""
        return self._found("logins.token_hash = ?", digest(token)) if token else None

    def lasts(self, login_id: str) -> bool:
        """Return whether a login that has come in has not ended."""
        return self._found("logins.id = ?", login_id) is not None

    def end(self, token: str) -> None:
        """End a login, and what a wallet has proved to it alone."""
        found = self.find(token)
        if found is None:
            return
        with self._book.write() as cursor:
            cursor.execute("DELETE FROM logins WHERE token_hash = ?", (digest(token),))
            if found.visitor.way == "shared_key":
                cursor.execute("DELETE FROM age_proofs WHERE subject = ?", (f"login:{found.id}",))

    def _found(self, condition: str, value: str) -> Login | None:
        rows = self._book.read(
            "SELECT logins.id AS login_id, logins.key_mark, accounts.id AS account_id, accounts.name, accounts.role"  # noqa: S608  (two fixed conditions)
            " FROM logins LEFT JOIN accounts ON accounts.id = logins.account_id"
            f" WHERE {condition} AND logins.expires_at > ?",
            (value, self._book.clock()),
        )
        if not rows:
            return None
        row = rows[0]
        login_id = row["login_id"]
        if row["account_id"] is not None:
            role: Role = row["role"]
            return Login(
                login_id, Visitor(row["account_id"], row["name"], role, "session", login_id=login_id, is_local=False)
            )
        if self._key_mark and row["key_mark"] == self._key_mark:
            return Login(login_id, Visitor(way="shared_key", login_id=login_id, is_local=False))
        return None
