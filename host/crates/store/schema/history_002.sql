-- What happened, in rows. Columns are for choosing rows; what is shown comes from the sealed document, whose checksum covers them too.

-- Quiet times: from when to when, average and least score. The newest may still go on.
CREATE TABLE quiet (
    id      INTEGER PRIMARY KEY,
    from_ms INTEGER NOT NULL,
    to_ms   INTEGER NOT NULL,
    sealed  BLOB NOT NULL
) STRICT;
CREATE INDEX quiet_to ON quiet (to_ms);

-- Events: states, collectors, addons, leases, reports.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT,
    sealed  BLOB NOT NULL
) STRICT;
CREATE INDEX event_at ON event (at_ms);
CREATE INDEX event_kind ON event (kind, id);
