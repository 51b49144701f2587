-- Leases: what holds now, and how it came to that. Documents are JSON, as the core writes them, so that they can be read with the sqlite3
-- shell at three in the morning.

-- One row: the newest numbers, and the operator's switch and windows.
CREATE TABLE meta (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    sequence   INTEGER NOT NULL,
    last_id    INTEGER NOT NULL,
    last_token INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    switches   TEXT NOT NULL
) STRICT;

-- Every lease that is held, waits, or ended lately: what the events up to meta.sequence fold to.
CREATE TABLE lease (
    id       INTEGER PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;

-- The audit log: numbered without gaps.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY,
    lease    INTEGER,
    document TEXT NOT NULL
) STRICT;

-- When each job was last done.
CREATE TABLE run (
    holder   TEXT NOT NULL,
    job_type TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (holder, job_type)
) STRICT, WITHOUT ROWID;
