"""Where chats, memories and counts are kept: in the character's folder, or where the environment says."""

import os
from pathlib import Path

DATABASE_VARIABLE = "DUOLOGUE_DATABASE_URL"  # chats and memories on PostgreSQL
JUDGE_VARIABLE = "DUOLOGUE_JUDGE_KEY"
REDIS_VARIABLE = "DUOLOGUE_REDIS_URL"  # limits that several replicas of the server share
REMOTE_VARIABLE = "DUOLOGUE_REMOTE_KEY"  # API key of the server behind the engine `remote`
SUPERMEMORY_VARIABLE = "SUPERMEMORY_API_KEY"


def database_url() -> str:
    """Return the address of the database server; empty for files in the folder."""
    return os.environ.get(DATABASE_VARIABLE, "")


def redis_url() -> str:
    """Return the address of the Redis server; empty for limits that each process counts by itself."""
    return os.environ.get(REDIS_VARIABLE, "")


def remote_key() -> str:
    """Return the key of the server that replies with the engine `remote`; empty when it needs none."""
    return os.environ.get(REMOTE_VARIABLE, "")


def judge_key() -> str:
    """Return the key of the server with the judge model; empty when it needs none."""
    return os.environ.get(JUDGE_VARIABLE, "")


def supermemory_key() -> str:
    """Return the key of the second memory; empty when there is none."""
    return os.environ.get(SUPERMEMORY_VARIABLE, "")


def chats_place(folder: Path) -> Path | str:
    """Return where a folder's chats are."""
    return database_url() or folder / "chats.sqlite"


def memory_place(folder: Path) -> Path | str:
    """Return where a folder's memories are."""
    return database_url() or folder / "memory.sqlite"
