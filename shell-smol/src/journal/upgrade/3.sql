-- From version 2 to 3: less to write in each commit. A message is kept by its place in its session
-- instead of a number of its own beside an index; how many there are, and when the last came, is read
-- from there; and the steps of a session are found by looking through all.

DROP INDEX steps_by_session;
DROP INDEX messages_by_session;
ALTER TABLE messages RENAME TO messages_before;

CREATE TABLE messages (
    session    INTEGER NOT NULL REFERENCES sessions (id),
    number     INTEGER NOT NULL,
    seq        INTEGER NOT NULL REFERENCES steps (seq),
    role       TEXT    NOT NULL
        CHECK (role = 'user' OR role = 'assistant' OR role = 'tool' OR role = 'notice'),
    content    TEXT    NOT NULL,
    tool_calls TEXT,
    call_id    TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;

INSERT INTO messages
SELECT session, row_number() OVER (PARTITION BY session ORDER BY seq, id), seq, role, content,
       tool_calls, call_id, created_at
FROM messages_before
ORDER BY 1, 2;

DROP TABLE messages_before;
ALTER TABLE sessions DROP COLUMN updated_at;
ALTER TABLE sessions DROP COLUMN messages;
