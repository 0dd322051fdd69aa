"""The tables of saved conversations, and the full-text search in them, which each database writes in its own way."""

import re

from duologue.store import LEXEMES_SCRIPT, Database, Row, Script

_LINEAR = """
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        character TEXT NOT NULL,
        user TEXT NOT NULL,
        title TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    );
    CREATE INDEX sessions_in_order ON sessions (character, user, updated_at);
    CREATE TABLE messages (
        id {id},
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        content TEXT NOT NULL,
        recalled TEXT NOT NULL DEFAULT '[]',
        finish_reason TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL
    );
    CREATE INDEX messages_in_order ON messages (session_id, id);
    """
# A message knows what it follows (0: nothing) and which version below it is shown (0: none); the session knows its
# first message that is shown and the last one of the path, so that a message is appended without reading the others.
_TREE = """
    ALTER TABLE sessions ADD COLUMN root_id {integer} NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN head_id {integer} NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN num_messages {integer} NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE sessions ADD COLUMN branched_from TEXT NOT NULL DEFAULT '';
    ALTER TABLE sessions ADD COLUMN extra TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE messages ADD COLUMN parent_id {integer} NOT NULL DEFAULT 0;
    ALTER TABLE messages ADD COLUMN chosen_child_id {integer} NOT NULL DEFAULT 0;
    ALTER TABLE messages ADD COLUMN depth {integer} NOT NULL DEFAULT 1;
    ALTER TABLE messages ADD COLUMN speaker TEXT NOT NULL DEFAULT '';
    ALTER TABLE messages ADD COLUMN revision {integer} NOT NULL DEFAULT 0;
    ALTER TABLE messages ADD COLUMN is_hidden {integer} NOT NULL DEFAULT 0;
    ALTER TABLE messages ADD COLUMN extra TEXT NOT NULL DEFAULT '{}';
    UPDATE messages SET parent_id = around.before_id, chosen_child_id = around.after_id, depth = around.place
        FROM (
            SELECT id,
                coalesce(lag(id) OVER in_order, 0) AS before_id,
                coalesce(lead(id) OVER in_order, 0) AS after_id,
                row_number() OVER in_order AS place
            FROM messages WINDOW in_order AS (PARTITION BY session_id ORDER BY id)
        ) AS around
        WHERE around.id = messages.id;
    UPDATE sessions SET root_id = ends.root_id, head_id = ends.head_id, num_messages = ends.num_messages
        FROM (
            SELECT session_id, min(id) AS root_id, max(id) AS head_id, count(*) AS num_messages
            FROM messages GROUP BY session_id
        ) AS ends
        WHERE ends.session_id = sessions.id;
    CREATE INDEX messages_in_tree ON messages (session_id, parent_id, id);
    CREATE TABLE session_states (
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (session_id, name)
    );
    CREATE TABLE undo_steps (
        id {id},
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        step TEXT NOT NULL,
        made_at TEXT NOT NULL
    );
    CREATE INDEX undo_steps_in_order ON undo_steps (session_id, id);
    """
_WORDS = Script(
    sqlite="""
    CREATE VIRTUAL TABLE message_words USING fts5 (
        content, content = 'messages', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
    );
    INSERT INTO message_words (message_words) VALUES ('rebuild');
    CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
        INSERT INTO message_words (rowid, content) VALUES (new.id, new.content);
    END;
    CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
        INSERT INTO message_words (message_words, rowid, content) VALUES ('delete', old.id, old.content);
    END;
    CREATE TRIGGER messages_changed AFTER UPDATE OF content ON messages BEGIN
        INSERT INTO message_words (message_words, rowid, content) VALUES ('delete', old.id, old.content);
        INSERT INTO message_words (rowid, content) VALUES (new.id, new.content);
    END;
    """,
    # The lexemes of a text are at most 1 MB in PostgreSQL; words beyond the first 250,000 characters are not found.
    postgres=LEXEMES_SCRIPT  # noqa: S608  (fixed texts)
    + """
    CREATE TABLE message_lexemes (
        message_id BIGINT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
        lexemes tsvector NOT NULL
    );
    CREATE FUNCTION message_lexemes_follow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO message_lexemes VALUES (NEW.id, house_lexemes(left(NEW.content, 250000)))
            ON CONFLICT (message_id) DO UPDATE SET lexemes = EXCLUDED.lexemes;
        RETURN NULL;
    END $$;
    CREATE TRIGGER message_lexemes_follow AFTER INSERT OR UPDATE OF content ON messages
        FOR EACH ROW EXECUTE FUNCTION message_lexemes_follow();
    INSERT INTO message_lexemes SELECT id, house_lexemes(left(content, 250000)) FROM messages;
    CREATE INDEX message_lexemes_found ON message_lexemes USING gin (lexemes);
    """,
)
# What people think of replies. `text_by` says whose words a reply is made of: 'model' made it here, a 'person' rewrote
# it, or both did ('mixed'); empty where that is not known, such as in imported chats. `seen_id` is the newest version
# that was there when a version was picked; an opinion is of one revision of a text and of no other.
_FEEDBACK = """
    ALTER TABLE messages ADD COLUMN text_by TEXT NOT NULL DEFAULT '';
    CREATE TABLE consents (
        session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
        state TEXT NOT NULL CHECK (state IN ('asked', 'given', 'refused')),
        changed_at TEXT NOT NULL
    );
    CREATE TABLE opinions (
        message_id {integer} PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
        revision {integer} NOT NULL,
        is_liked {integer} NOT NULL,
        said_at TEXT NOT NULL
    );
    CREATE TABLE picks (
        message_id {integer} PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
        seen_id {integer} NOT NULL,
        picked_at TEXT NOT NULL
    );
    CREATE TABLE originals (
        message_id {integer} PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
        content TEXT NOT NULL
    );
    CREATE TABLE feedback_left_out (
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        source TEXT NOT NULL,
        PRIMARY KEY (session_id, source)
    );
    """
MIGRATIONS = (_LINEAR, _TREE, _WORDS, _FEEDBACK)

BEGIN, END = "\x02", "\x03"  # around a word that was found; no message of ours holds them
_FOUND = {
    "sqlite": """
        SELECT messages.id, messages.session_id, messages.role, messages.speaker, messages.created_at,
            snippet(message_words, 0, char(2), char(3), '…', 24) AS snippet
        FROM message_words
            JOIN messages ON messages.id = message_words.rowid
            JOIN sessions ON sessions.id = messages.session_id
        WHERE message_words MATCH :query AND sessions.user = :user
            AND (:character = '' OR sessions.character = :character)
        ORDER BY bm25(message_words), messages.id DESC LIMIT :limit
        """,
    "postgres": """
        SELECT messages.id, messages.session_id, messages.role, messages.speaker, messages.created_at,
            ts_headline('house_words', messages.content, asked,
                'MaxWords=24, MinWords=12, StartSel=' || chr(2) || ', StopSel=' || chr(3)) AS snippet
        FROM house_query(:query) AS asked
            JOIN message_lexemes ON message_lexemes.lexemes @@ asked
            JOIN messages ON messages.id = message_lexemes.message_id
            JOIN sessions ON sessions.id = messages.session_id
        WHERE sessions.user = :user AND (:character = '' OR sessions.character = :character)
        ORDER BY ts_rank(message_lexemes.lexemes, asked) DESC, messages.id DESC LIMIT :limit
        """,
}
_TERMS = re.compile(r'"([^"]*)"|([^\s"]+)')


def find_words(database: Database, text: str, *, character: str, user: str, limit: int) -> list[Row]:
    """Return the messages that hold every word of a text, best first; words in double quotes stand together.

    The text is data: none of its characters is an operator of the search.

    Args:
        database: Where the messages are.
        text: What to look for.
        character: Whose sessions; empty for all characters.
        user: Whose sessions.
        limit: Most messages to return.
    """
    terms = [quoted or word for quoted, word in _TERMS.findall(text.replace("\0", " "))]
    terms = [term for term in terms if any(char.isalnum() for char in term)]
    if not terms:
        return []
    query = " ".join(f'"{term}"' for term in terms)
    values = {"query": query, "user": user, "character": character, "limit": limit}
    return list(database.read(_FOUND[database.dialect], values))


def clean_words(database: Database) -> None:
    """Take the words of deleted messages out of the index, so that `Database.purge` erases them."""
    if database.dialect == "sqlite":
        # Until it is optimized, the index keeps deleted words. FTS5's own 'secure-delete' (SQLite 3.42) would make a
        # file that older versions cannot open.
        with database.write() as cursor:
            cursor.execute("INSERT INTO message_words (message_words) VALUES ('optimize')")
