-- One SQLite file holds everything Cabin must not forget. This is its whole shape, version 1; what
-- later versions change is in MIGRATIONS in database.py.
--
-- Two rules hold for every table:
--   * what is shared or said is never changed: pages and journal rows are only ever added;
--   * what is a process's own is one row, rewritten whole, so that stop, fork, kill and recovery
--     are operations on a row.
-- Times are seconds since 1970. JSON columns hold objects or arrays.

-- Facts about the store itself: its random id, the models that were used.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What was said, read or answered: immutable, content-addressed, never deleted by the kernel.
-- Evicting a page from a process's window changes that process's page table, not this table.
CREATE TABLE page (
    id     INTEGER PRIMARY KEY,
    hash   BLOB NOT NULL UNIQUE,        -- SHA-256 of role, label, meta and text; see version 3
    role   TEXT NOT NULL,               -- system, user, assistant or tool
    label  TEXT NOT NULL,               -- trusted or untrusted: where the words came from
    meta   TEXT,                        -- JSON: calls of an assistant; the call a result answers
    tokens INTEGER NOT NULL,            -- as its first reader's model counts them
    text   TEXT NOT NULL
) STRICT;

-- The index for recall by words. It is brought up to date when somebody searches or evicts.
CREATE VIRTUAL TABLE page_index USING fts5(text, content='page', content_rowid='id',
                                           tokenize='porter unicode61');

-- A process is this row and nothing else; a blocked one costs no task, no thread, no memory.
CREATE TABLE process (
    pid          INTEGER PRIMARY KEY,
    parent       INTEGER,               -- NULL: started by a person
    root         INTEGER NOT NULL,      -- of its tree: who is served fairly
    state        TEXT NOT NULL CHECK (state IN ('ready', 'blocked', 'stopped', 'in_doubt',
                                                'exited')),
    title        TEXT NOT NULL,         -- the beginning of its request, for people
    image        TEXT NOT NULL,         -- what it runs: chat or code
    model        TEXT NOT NULL,
    nice         INTEGER NOT NULL,      -- -20 (served most) .. 19 (served least)
    interactive  INTEGER NOT NULL,      -- a person waits for it
    capabilities TEXT NOT NULL,         -- JSON: the tools, folders and hosts it may use
    created      REAL NOT NULL,
    -- What changes as it runs:
    image_state  TEXT NOT NULL,         -- JSON: the image's own
    pages        BLOB NOT NULL,         -- page table: little-endian uint32, id and two flags
    step         INTEGER NOT NULL,      -- syscalls so far
    pending      TEXT NOT NULL,         -- JSON: the calls it waits for, or results not yet taken
    label        TEXT NOT NULL,         -- the lowest integrity of any page it has read
    account      TEXT NOT NULL,         -- JSON: limits of its budget, and what is spent
    waiting      TEXT,                  -- why it is blocked, stopped or in doubt, for people
    wake         REAL,                  -- when a sleeping one goes on
    ended        REAL,
    status       TEXT,                  -- JSON: how it ended
    result       INTEGER                -- page with what it answered
) STRICT;
CREATE INDEX process_by_parent ON process (parent) WHERE parent IS NOT NULL;
CREATE INDEX process_by_root ON process (root) WHERE state != 'exited';

-- Mail between processes, and from people: taken in order.
CREATE TABLE message (
    id        INTEGER PRIMARY KEY,
    recipient INTEGER NOT NULL,
    sender    INTEGER,                  -- NULL: a person
    page      INTEGER NOT NULL
) STRICT;
CREATE INDEX message_by_recipient ON message (recipient, id);

-- Questions to a person, durable. An approval is bound to one call's arguments and spent once.
CREATE TABLE ask (
    id       INTEGER PRIMARY KEY,
    pid      INTEGER NOT NULL,
    call     TEXT NOT NULL,             -- id of the call that waits
    kind     TEXT NOT NULL CHECK (kind IN ('question', 'approval', 'doubt')),
    binding  BLOB NOT NULL,             -- SHA-256 of pid, call, tool and arguments
    question TEXT NOT NULL,             -- drawn by the kernel, never by a model
    detail   TEXT NOT NULL,             -- JSON: the tool and its arguments
    asked    REAL NOT NULL,
    answered REAL,
    answer   TEXT                       -- approved, denied, or the words of the answer
) STRICT;
CREATE INDEX ask_open ON ask (pid) WHERE answered IS NULL;

-- What happened, in order. Each row's chain is SHA-256 of the row before and itself; since version 3
-- the first 8 bytes of it, and `meta` holds the whole of the last one.
CREATE TABLE journal (
    seq   INTEGER PRIMARY KEY,
    time  REAL NOT NULL,
    pid   INTEGER NOT NULL,
    kind  TEXT NOT NULL,
    body  TEXT NOT NULL,                -- JSON
    chain BLOB NOT NULL
) STRICT;

-- Orders for the running kernel from other programs: `cabin kill 7` while `cabin chat` runs.
CREATE TABLE control (
    id   INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: by it an outcome is found
    verb TEXT NOT NULL,
    body TEXT NOT NULL                  -- JSON
) STRICT;

-- What a person asked to be remembered, and what is to be done.
CREATE TABLE note (
    id      INTEGER PRIMARY KEY,
    kind    TEXT NOT NULL CHECK (kind IN ('note', 'todo')),
    text    TEXT NOT NULL,
    label   TEXT NOT NULL,
    pid     INTEGER NOT NULL,           -- whose process wrote it
    created REAL NOT NULL,
    done    REAL                        -- of a todo: when it was
) STRICT;
CREATE VIRTUAL TABLE note_index USING fts5(text, content='note', content_rowid='id',
                                           tokenize='porter unicode61');
CREATE TRIGGER note_added AFTER INSERT ON note BEGIN
    INSERT INTO note_index (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER note_gone AFTER DELETE ON note BEGIN
    INSERT INTO note_index (note_index, rowid, text) VALUES ('delete', old.id, old.text);
END;
