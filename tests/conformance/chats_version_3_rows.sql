-- Rows of a chats database of version 3, as duologue wrote them then; names and times are set by hand.
INSERT INTO sessions (id, character, "user", title, created_at, updated_at, root_id, head_id, num_messages, tags, branched_from, extra) VALUES
    ('stove', 'mara', 'local', 'Tea at the stove', '2026-11-01T20:00:00.000+00:00', '2026-11-01T20:00:00.000+00:00', 1, 7, 5, '["tea", "winter"]', '', '{}'),
    ('ana-tea', 'mara', 'ana', '', '2026-11-01T20:00:00.000+00:00', '2026-11-01T20:00:00.000+00:00', 8, 10, 3, '[]', '', '{}'),
    ('branch', 'mara', 'local', 'Tea at the stove', '2026-11-01T20:00:00.000+00:00', '2026-11-01T20:00:00.000+00:00', 11, 12, 2, '["tea", "winter"]', 'stove', '{}'),
    ('empty', 'mara', 'local', '', '2026-11-01T20:00:00.000+00:00', '2026-11-01T20:00:00.000+00:00', 0, 0, 0, '[]', '', '{}');
INSERT INTO messages (id, session_id, role, content, recalled, finish_reason, created_at, parent_id, chosen_child_id, depth, speaker, revision, is_hidden, extra) VALUES
    (1, 'stove', 'user', 'Is the kettle on?', '[]', '', '2026-11-01T20:00:00.000+00:00', 0, 3, 1, '', 0, 0, '{}'),
    (2, 'stove', 'assistant', 'It is on the stove.', '[]', 'stop', '2026-11-01T20:00:00.000+00:00', 1, 0, 2, '', 0, 0, '{}'),
    (3, 'stove', 'assistant', 'Not yet, the stove is cold.', '[]', 'stop', '2026-11-01T20:00:00.000+00:00', 1, 5, 2, '', 0, 0, '{}'),
    (4, 'stove', 'assistant', 'What ket', '[]', 'cancelled', '2026-11-01T20:00:00.000+00:00', 1, 0, 2, '', 0, 0, '{}'),
    (5, 'stove', 'user', 'Then let us light it — wo ist die Kanne?', '[]', '', '2026-11-01T20:00:00.000+00:00', 3, 6, 3, '', 0, 0, '{}'),
    (6, 'stove', 'assistant', 'On the shelf, behind the blue cups. 茶', '[{"text": "I like blue cups", "speaker": "user", "memory_id": 8, "session_id": "other", "said_at": "2026-11-01T20:00:00.000+00:00", "score": 0.25, "kind": "turn", "message_id": 0, "is_pinned": false, "is_guess": false, "origin": "local"}]', 'stop', '2026-11-01T20:00:00.000+00:00', 5, 7, 4, '', 1, 0, '{}'),
    (7, 'stove', 'user', 'Never mind.', '[]', '', '2026-11-01T20:00:00.000+00:00', 6, 0, 5, '', 0, 1, '{}'),
    (8, 'ana-tea', 'assistant', 'Good evening.', '[]', '', '2026-11-01T20:00:00.000+00:00', 0, 9, 1, '', 0, 0, '{}'),
    (9, 'ana-tea', 'user', 'Tea?', '[]', '', '2026-11-01T20:00:00.000+00:00', 8, 10, 2, '', 0, 0, '{}'),
    (10, 'ana-tea', 'assistant', 'Green or black.', '[]', 'length', '2026-11-01T20:00:00.000+00:00', 9, 0, 3, 'Mara', 0, 0, '{}'),
    (11, 'branch', 'user', 'Is the kettle on?', '[]', '', '2026-11-01T20:00:00.000+00:00', 0, 12, 1, '', 0, 0, '{}'),
    (12, 'branch', 'assistant', 'It is on the stove.', '[]', 'stop', '2026-11-01T20:00:00.000+00:00', 11, 0, 2, '', 0, 0, '{}');
INSERT INTO session_states (session_id, name, value) VALUES
    ('stove', 'lore', '{"turn": 3}'),
    ('branch', 'lore', '{"turn": 3}');
INSERT INTO undo_steps (id, session_id, kind, step, made_at) VALUES
    (1, 'stove', 'swipe', '{"kind": "swipe", "texts": [], "shown": [[1, 2]], "rows": []}', '2026-11-01T20:00:00.000+00:00'),
    (2, 'stove', 'swipe', '{"kind": "swipe", "texts": [], "shown": [[1, 3]], "rows": []}', '2026-11-01T20:00:00.000+00:00'),
    (3, 'stove', 'choose', '{"kind": "choose", "texts": [], "shown": [[1, 4]], "rows": []}', '2026-11-01T20:00:00.000+00:00'),
    (4, 'stove', 'edit', '{"kind": "edit", "texts": [[6, "On the shelf, behind the cups. It''s the blue one.", "stop"]], "shown": [], "rows": []}', '2026-11-01T20:00:00.000+00:00');
