"""PostgreSQL's errors to house errors: what happened to the server and what the person can do."""

import psycopg

from duologue.errors import DataError

_TRY_LATER = "Try again; if it stays so, ask whoever runs the server."
_LOG = "Look into the server's log."
_CAUSES = {
    "22021": ("PostgreSQL cannot store a text with a NUL character", "Remove the character from the text."),
    "25006": ("the server takes no writes", "It is a standby, or set to read only: give the address of the primary."),
    "28000": ("the server refuses this user", "Check the user name and the server's pg_hba.conf."),
    "28P01": ("the server refuses the password", "Check the user name and the password in the address."),
    "3D000": ("there is no such database on the server", "Create it (createdb), or check the name in the address."),
    "40001": ("another program changed the same rows", "Try again."),
    "40P01": ("another program changed the same rows in another order", "Try again."),
    "42501": ("the user may not do this in the database", "Grant CREATE on the database, or ask whoever runs it."),
    "53100": ("the server's disk is full", "Free some space on the server and try again."),
    "53200": ("the server is out of memory", _TRY_LATER),
    "53300": ("the server has no connection left", "Raise max_connections, or run fewer replicas."),
    "55P03": ("another program holds the database", "Close the other program and try again."),
    "57014": ("the server took too long", _TRY_LATER),
    "57P01": ("the server is shutting down", _TRY_LATER),
    "57P02": ("the server has crashed and recovers", _TRY_LATER),
    "57P03": ("the server is starting", "Try again in a moment."),
    "58030": ("reading or writing the server's disk failed", _LOG),
    "XX001": ("the server's data is damaged", _LOG),
    "XX002": ("an index on the server is damaged", _LOG),
}
_UNREACHED = (
    # libpq says why no connection came about in words only.
    ("password authentication failed", _CAUSES["28P01"]),
    ("no password supplied", ("the server asks for a password", "Put it into the address, or into ~/.pgpass.")),
    ("pg_hba.conf", _CAUSES["28000"]),
    ("does not exist", _CAUSES["3D000"]),
    ("too many clients", _CAUSES["53300"]),
    ("starting up", _CAUSES["57P03"]),
    ("shutting down", _CAUSES["57P01"]),
    ("ssl", ("no encrypted connection to the server came about", "Check sslmode and sslrootcert in the address.")),
    ("certificate", ("the server's certificate is not trusted", "Check sslmode and sslrootcert in the address.")),
    ("translate host name", ("the server's host name is unknown", "Check the host in the address and the network.")),
    ("resolve host", ("the server's host name is unknown", "Check the host in the address and the network.")),
)
_LOST = ("the database server cannot be reached", "Check the address, the network, and that the server runs.")


def translate(error: psycopg.Error, label: str, *, password: str = "") -> Exception:
    """Return the house error for what the server or the network did; our own mistakes come back unchanged.

    Args:
        error: As the driver raised it.
        label: The address without its password.
        password: Taken out of the message, should a library ever quote it.
    """
    cause = _CAUSES.get(error.sqlstate or "")
    if cause is None and (error.sqlstate or "")[:2] in {"08", "57"}:
        cause = _LOST
    if cause is None and error.sqlstate is None:
        cause = _without_code(error)
    if cause is None:
        return error
    found, action = cause
    return DataError(f"{found} ({_first_line(error, password)})", where=label, action=action)


def _without_code(error: psycopg.Error) -> tuple[str, str] | None:
    text = str(error).lower()
    if isinstance(error, psycopg.DataError) and "nul" in text:
        return _CAUSES["22021"]
    if not isinstance(error, psycopg.OperationalError):
        return None
    return next((cause for words, cause in _UNREACHED if words in text), _LOST)


def _first_line(error: psycopg.Error, password: str) -> str:
    """Return what the server says in one line; its details would quote rows."""
    lines = (error.diag.message_primary or str(error) or type(error).__name__).strip().splitlines()
    line = lines[0].strip().rstrip(".")
    return line.replace(password, "***") if password else line
