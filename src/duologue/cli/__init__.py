"""The command line: argv to one call per room to a printed value."""

from duologue.cli.app import app, main

__all__ = ["app", "main"]
