-- openpista's database, version 3.
--
-- `steps` is the truth: folding its records rebuilds the whole state of the daemon. `snapshots`
-- only makes that quick. `sessions`, `messages` and `responses` are projections to query; they are
-- computed from the records alone, in the transaction that commits them, and can be thrown away
-- and computed again. `tokens` belongs to the operator, and is in no record. Columns ending in
-- `_at` are milliseconds since 1970 in UTC.
--
-- Every page that a commit changes is written, so there are few tables and indices to change: what
-- is asked seldom is looked for instead.

-- What is fixed when the journal begins.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL          -- began_unix_ms: the wall clock at the journal's time zero
) STRICT, WITHOUT ROWID;

-- One row a step: what happened, and what was decided. Never changed, never deleted.
CREATE TABLE steps (
    seq     INTEGER PRIMARY KEY,    -- the position, from 1
    at      INTEGER NOT NULL,       -- milliseconds since the journal began; never decreases
    session INTEGER,                -- the one session it touches; null for what is about all
    input   TEXT    NOT NULL,       -- JSON: what happened
    records TEXT    NOT NULL        -- JSON array: the facts that were decided, in order
) STRICT;

-- The state after a step, so that a start folds only what came later. The latest two are kept.
CREATE TABLE snapshots (
    seq   INTEGER PRIMARY KEY REFERENCES steps (seq),
    state BLOB NOT NULL             -- as the core wrote it
) STRICT;

-- The conversations.
CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY, -- the seq of the step that opened it
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_name ON sessions (name);

-- What was said in them.
CREATE TABLE messages (
    session    INTEGER NOT NULL REFERENCES sessions (id),
    number     INTEGER NOT NULL,    -- its place in the session: from 1, without gaps
    seq        INTEGER NOT NULL REFERENCES steps (seq),
    role       TEXT    NOT NULL     -- not IN: that makes a table of its own for each row
        CHECK (role = 'user' OR role = 'assistant' OR role = 'tool' OR role = 'notice'),
    content    TEXT    NOT NULL,
    tool_calls TEXT,                -- assistant: JSON array of {id, tool, arguments}, if it made calls
    call_id    TEXT,                -- tool: the id of the call that this is the result of
    created_at INTEGER NOT NULL,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;

-- What became of each message of a client of the gateway, for when it asks again.
CREATE TABLE responses (
    origin   TEXT    NOT NULL,
    key      TEXT    NOT NULL,      -- the client's idempotency key
    content  TEXT,                  -- null until the message has come to its end
    is_error INTEGER NOT NULL,      -- 1: the message was refused, or its turn failed
    seq      INTEGER NOT NULL REFERENCES steps (seq),
    PRIMARY KEY (origin, key)
) STRICT, WITHOUT ROWID;

-- Who may use the gateway. The tokens themselves are kept nowhere.
CREATE TABLE tokens (
    name       TEXT PRIMARY KEY,
    hash       BLOB    NOT NULL,    -- SHA-256 of the token
    created_at INTEGER NOT NULL,
    revoked_at INTEGER              -- null while it is valid
) STRICT, WITHOUT ROWID;
