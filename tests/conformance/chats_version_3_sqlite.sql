-- The tables of a chats file of version 3, from `sqlite_master` of one that was written then.
CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        character TEXT NOT NULL,
        user TEXT NOT NULL,
        title TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    , root_id INTEGER NOT NULL DEFAULT 0, head_id INTEGER NOT NULL DEFAULT 0, num_messages INTEGER NOT NULL DEFAULT 0, tags TEXT NOT NULL DEFAULT '[]', branched_from TEXT NOT NULL DEFAULT '', extra TEXT NOT NULL DEFAULT '{}');
CREATE INDEX sessions_in_order ON sessions (character, user, updated_at);
CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        content TEXT NOT NULL,
        recalled TEXT NOT NULL DEFAULT '[]',
        finish_reason TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL
    , parent_id INTEGER NOT NULL DEFAULT 0, chosen_child_id INTEGER NOT NULL DEFAULT 0, depth INTEGER NOT NULL DEFAULT 1, speaker TEXT NOT NULL DEFAULT '', revision INTEGER NOT NULL DEFAULT 0, is_hidden INTEGER NOT NULL DEFAULT 0, extra TEXT NOT NULL DEFAULT '{}');
CREATE INDEX messages_in_order ON messages (session_id, id);
CREATE INDEX messages_in_tree ON messages (session_id, parent_id, id);
CREATE TABLE session_states (
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (session_id, name)
    );
CREATE TABLE undo_steps (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        step TEXT NOT NULL,
        made_at TEXT NOT NULL
    );
CREATE INDEX undo_steps_in_order ON undo_steps (session_id, id);
CREATE VIRTUAL TABLE message_words USING fts5 (
        content, content = 'messages', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
    );
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
PRAGMA user_version = 3;
