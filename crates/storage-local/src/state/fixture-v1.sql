-- A state database as format 1 wrote it: a live topic, a deleted one of the same name, and counters.
PRAGMA application_id = 0x4f74746c;
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE topics (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('live', 'deleting'))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX live_topic_names ON topics (name) WHERE state = 'live';
CREATE TABLE partitions (
    topic BLOB NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
    partition_index INTEGER NOT NULL CHECK (partition_index >= 0),
    log_id INTEGER NOT NULL UNIQUE CHECK (log_id > 0),
    PRIMARY KEY (topic, partition_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE topic_settings (
    topic BLOB NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (topic, name)
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('next_log_id', 9), ('next_producer_id', 3000), ('cluster_id', 'T3R0bGEtZml4dHVyZS0wMQ');
INSERT INTO topics VALUES
    (x'01010101010101010101010101010101', 'orders', 'live'),
    (x'02020202020202020202020202020202', 'orders', 'deleting');
INSERT INTO partitions VALUES
    (x'01010101010101010101010101010101', 0, 7),
    (x'01010101010101010101010101010101', 1, 8),
    (x'02020202020202020202020202020202', 0, 2);
INSERT INTO topic_settings VALUES (x'01010101010101010101010101010101', 'retention.ms', '-1');
PRAGMA user_version = 1;
