-- From version 1 to 2: the gateway's responses and tokens. What is in the journal already is
-- projected as the program does it for every new step.

CREATE TABLE responses (
    origin   TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    content  TEXT,
    is_error INTEGER NOT NULL,
    seq      INTEGER NOT NULL REFERENCES steps (seq),
    PRIMARY KEY (origin, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    name       TEXT PRIMARY KEY,
    hash       BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO responses (origin, key, content, is_error, seq)
SELECT record.value ->> '$.accepted.origin', record.value ->> '$.accepted.key', NULL, 0, steps.seq
FROM steps, json_each(steps.records) AS record
WHERE (record.value ->> '$.accepted.origin' LIKE 'quic:%' OR record.value ->> '$.accepted.origin' LIKE 'cli:%')
ORDER BY steps.seq;

INSERT INTO responses (origin, key, content, is_error, seq)
SELECT record.value ->> '$.refused.origin', record.value ->> '$.refused.key',
       record.value ->> '$.refused.refusal.reason', 1, steps.seq
FROM steps, json_each(steps.records) AS record
WHERE (record.value ->> '$.refused.origin' LIKE 'quic:%' OR record.value ->> '$.refused.origin' LIKE 'cli:%')
ON CONFLICT (origin, key) DO NOTHING;

INSERT INTO responses (origin, key, content, is_error, seq)
SELECT ending.value ->> '$.origin', ending.value ->> '$.key',
       coalesce(record.value ->> '$.queued.body.reply',
                record.value ->> '$.queued.body.failure',
                record.value ->> '$.queued.body.notice', ''),
       record.value -> '$.queued.body.failure' IS NOT NULL,
       steps.seq
FROM steps, json_each(steps.records) AS record, json_each(record.value, '$.queued.ends') AS ending
WHERE (ending.value ->> '$.origin' LIKE 'quic:%' OR ending.value ->> '$.origin' LIKE 'cli:%')
ORDER BY steps.seq
ON CONFLICT (origin, key) DO UPDATE
SET content = excluded.content, is_error = excluded.is_error, seq = excluded.seq
WHERE content IS NULL;
