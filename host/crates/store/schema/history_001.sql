-- Samples over time. Every blob ends in a checksum over its table, its key and itself: SQLite finds a page that is not a page, this finds
-- a bit that fell over inside one. Keys begin with the time, so that what is new goes to the end of each table.

-- Who the series are. Numbers are not used again.
CREATE TABLE series (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    sealed BLOB NOT NULL
) STRICT;

-- Ticks that are in no segment yet: time, series and values of each.
CREATE TABLE tail (
    id     INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- Runs of ticks within one day (UTC), in the order in which they were recorded: the times of their ticks.
CREATE TABLE segment (
    id     INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- The samples of one series in one segment: segment * 2^24 + series.
CREATE TABLE chunk (
    id     INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- Days whose roll-ups are complete: days since 1970.
CREATE TABLE rolled (
    id     INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- The buckets of one series in one day: day * 2^24 + series.
CREATE TABLE rollup (
    id     INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- Their sketches, in a table of their own: only percentiles need them.
CREATE TABLE sketch (
    id     INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;
