-- openpista's database as version 1 made it. Upgrades are tested from it; it never changes.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE steps (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    session INTEGER,
    input   TEXT    NOT NULL,
    records TEXT    NOT NULL
) STRICT;

CREATE INDEX steps_by_session ON steps (session);

CREATE TABLE snapshots (
    seq   INTEGER PRIMARY KEY REFERENCES steps (seq),
    state BLOB NOT NULL
) STRICT;

CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    messages   INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_name ON sessions (name);

CREATE TABLE messages (
    id         INTEGER PRIMARY KEY,
    session    INTEGER NOT NULL REFERENCES sessions (id),
    seq        INTEGER NOT NULL REFERENCES steps (seq),
    role       TEXT    NOT NULL CHECK (role IN ('user', 'assistant', 'tool', 'notice')),
    content    TEXT    NOT NULL,
    tool_calls TEXT,
    call_id    TEXT,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX messages_by_session ON messages (session, seq);
