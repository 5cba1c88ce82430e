-- How far each queue of a worker's disk spool has been recorded. The transaction that records a
-- spooled piece of work moves this on, so what was recorded is known even if the worker dies before
-- it removes the piece from its disk.
CREATE TABLE spool_progress (
    spool_id    uuid PRIMARY KEY,
    position    bigint NOT NULL CONSTRAINT position_counts_from_zero CHECK (position >= 0),
    advanced_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
