"""Whether an error came from where rows and files are kept, and not from what was asked."""

import errno
import sqlite3

_DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def is_of_storage(error: BaseException | None) -> bool:
    """Return whether a disk that is full or read-only, or a database that is locked or away, raised an error."""
    if isinstance(error, OSError):
        return error.errno in _DISK_FAULTS
    # The server's driver is loaded only where there is a server.
    is_of_server = type(error).__module__.partition(".")[0] == "psycopg"
    return is_of_server or isinstance(error, sqlite3.OperationalError)
