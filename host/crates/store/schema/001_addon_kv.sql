-- Keys and values of addons. Text compares by its bytes, so the primary key is also the order of a listing. A table with
-- rowids: without them blobs of this size waste half of each page.
CREATE TABLE addon_kv (
    addon TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes = octet_length(key) + octet_length(value)),
    PRIMARY KEY (addon, key)
) STRICT;

-- An addon's quota is counted from this alone, within the transaction that writes. It is why `bytes` is a column: SQLite
-- answers from an index alone only for plain ones.
CREATE INDEX addon_kv_bytes ON addon_kv (addon, bytes);
