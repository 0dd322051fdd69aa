"""The command line: argv to one call per room to a printed value."""

from duologue.cli.app import main, make_app

__all__ = ["main", "make_app"]
