-- The index: what can be found in files and whatever else is put into it. Everything here is made
-- of something else and can be made again, so it is a file of its own: whoever writes here never
-- makes the kernel wait for its store, and a version of this file that is not today's is emptied.

-- What the index is: `encoder`, the name of whoever made the vectors; `folder`, where that one is, if
-- it is not built in; `filled`, how often passages that were here already were given vectors.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The files and folders a person asked to be indexed, as absolute paths. Every version has this
-- table, so that nobody has to ask again.
CREATE TABLE root (
    path TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Where passages come from.
CREATE TABLE source (
    id       INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,             -- file, note, page, tool, skill
    name     TEXT NOT NULL,             -- of a file: its absolute path, without links
    size     INTEGER NOT NULL,          -- of a file, as it was when it was read: bytes,
    modified INTEGER NOT NULL,          -- nanoseconds since 1970,
    digest   BLOB NOT NULL,             -- SHA-256 of its bytes
    problem  TEXT NOT NULL,             -- why it has no passages, for people
    UNIQUE (kind, name)
) STRICT;

CREATE TABLE passage (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: by it caches know what is new
    source  INTEGER NOT NULL,
    line    INTEGER NOT NULL,           -- number of its first line, from 1
    page    INTEGER NOT NULL,           -- of a PDF, from 1; otherwise 0
    heading TEXT NOT NULL,              -- those it stands under
    text    TEXT NOT NULL,
    vector  BLOB                        -- signed bytes, of any length: only the direction counts
) STRICT;
CREATE INDEX passage_by_source ON passage (source);

CREATE VIRTUAL TABLE passage_index USING fts5(heading, text, content='passage', content_rowid='id',
                                              tokenize='porter unicode61');
CREATE TRIGGER passage_added AFTER INSERT ON passage BEGIN
    INSERT INTO passage_index (rowid, heading, text) VALUES (new.id, new.heading, new.text);
END;
CREATE TRIGGER passage_gone AFTER DELETE ON passage BEGIN
    INSERT INTO passage_index (passage_index, rowid, heading, text)
        VALUES ('delete', old.id, old.heading, old.text);
END;
