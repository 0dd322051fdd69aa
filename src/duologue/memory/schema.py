"""The tables of memory, version by version; a released script never changes."""

from duologue.store import Migration, Script

_FIRST = Script(
    sqlite="""
    CREATE TABLE memories (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user TEXT NOT NULL,
        character TEXT NOT NULL,
        session_id TEXT NOT NULL,
        message_id INTEGER NOT NULL,
        speaker TEXT NOT NULL CHECK (speaker IN ('user', 'assistant')),
        said_at TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE INDEX memories_in_order ON memories (user, character, session_id, id);
    CREATE INDEX memories_of_message ON memories (session_id, message_id);
    CREATE VIRTUAL TABLE memory_words USING fts5 (
        text, content = 'memories', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
    );
    CREATE TRIGGER memories_added AFTER INSERT ON memories BEGIN
        INSERT INTO memory_words (rowid, text) VALUES (new.id, new.text);
    END;
    CREATE TRIGGER memories_deleted AFTER DELETE ON memories BEGIN
        INSERT INTO memory_words (memory_words, rowid, text) VALUES ('delete', old.id, old.text);
    END;
    """,
    postgres="""
    CREATE TABLE memories (
        id {id},
        user TEXT NOT NULL,
        character TEXT NOT NULL,
        session_id TEXT NOT NULL,
        message_id {integer} NOT NULL,
        speaker TEXT NOT NULL CHECK (speaker IN ('user', 'assistant')),
        said_at TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE INDEX memories_in_order ON memories (user, character, session_id, id);
    CREATE INDEX memories_of_message ON memories (session_id, message_id);
    """,
)

_COLUMNS = """
    ALTER TABLE memories ADD COLUMN kind TEXT NOT NULL DEFAULT 'turn';
    ALTER TABLE memories ADD COLUMN name TEXT NOT NULL DEFAULT '';
    ALTER TABLE memories ADD COLUMN revision {integer} NOT NULL DEFAULT 0;
    ALTER TABLE memories ADD COLUMN part {integer} NOT NULL DEFAULT 0;
    ALTER TABLE memories ADD COLUMN position {integer} NOT NULL DEFAULT 0;
    ALTER TABLE memories ADD COLUMN original TEXT NOT NULL DEFAULT '';
    ALTER TABLE memories ADD COLUMN slot TEXT NOT NULL DEFAULT '';
    ALTER TABLE memories ADD COLUMN value TEXT NOT NULL DEFAULT '';
    ALTER TABLE memories ADD COLUMN is_pinned {integer} NOT NULL DEFAULT 0;
    ALTER TABLE memories ADD COLUMN is_private {integer} NOT NULL DEFAULT 0;
    ALTER TABLE memories ADD COLUMN changed {integer} NOT NULL DEFAULT 0;
    UPDATE memories SET original = text, position = message_id, part = (
        SELECT count(*) AS num_before FROM memories AS earlier WHERE earlier.user = memories.user
            AND earlier.character = memories.character AND earlier.session_id = memories.session_id
            AND earlier.message_id = memories.message_id AND earlier.id < memories.id
    );
    CREATE INDEX memories_changed ON memories (user, character, changed);
    CREATE INDEX memories_of_kind ON memories (user, character, kind, changed);
    CREATE INDEX memories_of_slot ON memories (user, character, slot);
    CREATE INDEX memories_pinned ON memories (user, character, is_pinned);
    CREATE INDEX memories_private ON memories (user, character, is_private);
    CREATE TABLE scopes (
        user TEXT NOT NULL,
        character TEXT NOT NULL,
        revision {integer} NOT NULL,
        PRIMARY KEY (user, character)
    );
    CREATE TABLE departures (
        user TEXT NOT NULL,
        character TEXT NOT NULL,
        revision {integer} NOT NULL,
        memory_id {integer} NOT NULL
    );
    CREATE INDEX departures_in_order ON departures (user, character, revision);
    CREATE TABLE marks (
        user TEXT NOT NULL,
        character TEXT NOT NULL,
        session_id TEXT NOT NULL,
        message_id {integer} NOT NULL,
        revision {integer} NOT NULL,
        kind TEXT NOT NULL,
        part {integer} NOT NULL,
        is_pinned {integer} NOT NULL DEFAULT 0,
        is_private {integer} NOT NULL DEFAULT 0,
        is_forgotten {integer} NOT NULL DEFAULT 0,
        text TEXT,
        PRIMARY KEY (user, character, session_id, message_id, revision, kind, part)
    );
    CREATE TABLE embedders (
        id {id},
        name TEXT NOT NULL,
        dim {integer} NOT NULL,
        sha256 TEXT NOT NULL,
        UNIQUE (name, dim, sha256)
    );
    CREATE TABLE vectors (
        memory_id {integer} PRIMARY KEY REFERENCES memories (id) ON DELETE CASCADE,
        embedder_id {integer} NOT NULL REFERENCES embedders (id),
        vector {blob} NOT NULL
    );
    CREATE TABLE receipts (
        id {id},
        at TEXT NOT NULL,
        content TEXT NOT NULL
    );
"""
_SECOND = Script(
    sqlite=_COLUMNS  # noqa: S608  (fixed texts)
    + """
    CREATE TRIGGER memories_changed_text AFTER UPDATE OF text ON memories BEGIN
        INSERT INTO memory_words (memory_words, rowid, text) VALUES ('delete', old.id, old.text);
        INSERT INTO memory_words (rowid, text) VALUES (new.id, new.text);
    END;
    """,
    postgres=_COLUMNS,
)

MIGRATIONS: tuple[Migration, ...] = (_FIRST, _SECOND)
