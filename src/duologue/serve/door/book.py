"""The book behind the door: the one database of accounts, logins, keys and proofs of age, and the secret beside it."""

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from duologue.errors import DataError
from duologue.serve.door.schema import MIGRATIONS
from duologue.store import Cursor, Database, Parameters, Row, is_server, open_database

BOOK_NAME = "accounts.sqlite"
SECRET_NAME = "door.secret"  # noqa: S105  (the name of a file)
_SECRET_BYTES = 32
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def digest(secret: str) -> str:
    """Return what is stored of a secret that is random itself, so that it needs no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_id(text: str) -> bool:
    """Return whether a text can be an id of ours; what cannot is nobody's, and no database is asked for it."""
    return _ID.fullmatch(text) is not None


class Book:
    """The database behind the door. A file is made when something must be kept, so a home without accounts has none.

    Attributes:
        clock: Seconds since 1970, by which logins, requests and proofs end.
    """

    def __init__(self, place: Path | str, *, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Open nothing.

        Args:
            place: A file, or the address of a PostgreSQL server.
            folder: Where the secret lies that signs proofs of age.
            clock: The time.
        """
        self.clock = clock
        self._place = place
        self._folder = folder
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._secret = b""

    def read(self, sql: str, parameters: Parameters = ()) -> Sequence[Row]:
        """Return the rows of a query; none while there is no book.

        Raises:
            DataError: It cannot be read.
        """
        if self._database is None and not is_server(self._place) and not Path(self._place).exists():
            return ()
        return self._opened().read(sql, parameters)

    def write(self) -> AbstractContextManager[Cursor]:
        """Yield a cursor inside one transaction.

        Raises:
            DataError: It cannot be written.
        """
        return self._opened().write()

    def secret(self) -> bytes:
        """Return the secret of this home, made at the first call and readable by its owner alone.

        Raises:
            DataError: It cannot be read or written.
        """
        with self._lock:
            if not self._secret:
                self._secret = _kept_secret(self._folder / SECRET_NAME)
            return self._secret

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def _opened(self) -> Database:
        with self._lock:
            if self._database is None:
                self._database = open_database(self._place, migrations=MIGRATIONS, name="accounts")
            return self._database


def _kept_secret(path: Path) -> bytes:
    try:
        try:
            # Whole or not at all: the name appears only once the bytes are on disk, and only for the first who links.
            partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            made = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(made, secrets.token_bytes(_SECRET_BYTES))
                os.fsync(made)
            finally:
                os.close(made)
            try:
                with suppress(FileExistsError):  # another process was faster: its secret holds
                    os.link(partial, path)
            finally:
                partial.unlink()
            handle = os.open(path, os.O_RDONLY)
        try:
            secret = os.read(handle, _SECRET_BYTES + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(
            f"the secret behind proofs of age cannot be kept ({error.strerror})",
            where=str(path),
            action="Check that the folder exists and can be written.",
        ) from error
    if len(secret) != _SECRET_BYTES:
        raise DataError(
            f"the secret behind proofs of age has {len(secret)} bytes",
            where=str(path),
            needed=f"{_SECRET_BYTES} bytes",
            action="Delete the file; proofs of age must then be shown anew.",
        )
    return secret
