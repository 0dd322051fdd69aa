"""The suites that ship with duologue; a person may pass a file of the same form."""
