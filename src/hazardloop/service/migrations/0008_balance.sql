-- What became of every message: the balance of each gateway, and dead letters that can be taken again.

-- Runs of message numbers as a worker's batches brought them, one row a batch, until they are folded.
-- Columns as in ingest/arrivals.py; arrays of one length.
CREATE TABLE balance_arrival (
    arrival_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id int[] NOT NULL,
    minute     int[] NOT NULL,          -- since the Unix epoch, of receipt
    first_seq  bigint[] NOT NULL,
    messages   int[] NOT NULL,
    kind       smallint[] NOT NULL
);
-- They live for seconds: compressing them costs more than it saves.
ALTER TABLE balance_arrival ALTER gateway_id SET STORAGE EXTERNAL, ALTER minute SET STORAGE EXTERNAL,
    ALTER first_seq SET STORAGE EXTERNAL, ALTER messages SET STORAGE EXTERNAL, ALTER kind SET STORAGE EXTERNAL,
    SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
         toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000);

-- Numbers that were heard of a gateway: each stretch from first_seq to last_seq less its gaps.
CREATE TABLE balance_series (
    gateway_id   int NOT NULL,
    nth          int NOT NULL,
    rank         smallint NOT NULL,     -- 0: used last
    first_seq    bigint NOT NULL,
    last_seq     bigint NOT NULL,
    first_minute int NOT NULL,
    gap_first    bigint[] NOT NULL,
    gap_last     bigint[] NOT NULL,
    gap_minute   int[] NOT NULL,        -- in which they are booked as missing
    PRIMARY KEY (gateway_id, nth),
    CONSTRAINT balance_series_is_a_stretch CHECK (first_seq <= last_seq),
    CONSTRAINT balance_gaps_have_all_parts
        CHECK (cardinality(gap_first) = cardinality(gap_last) AND cardinality(gap_first) = cardinality(gap_minute))
);

CREATE TABLE balance_minute (
    gateway_id          int NOT NULL,
    minute              int NOT NULL,   -- since the Unix epoch
    numbers             int NOT NULL,   -- message numbers, heard or missing
    repeated            int NOT NULL,   -- messages under a number that had been heard
    sent                int NOT NULL GENERATED ALWAYS AS (numbers + repeated) STORED,
    stored              int NOT NULL,
    duplicate           int NOT NULL,
    rejected            int NOT NULL,
    missing             int NOT NULL,
    redelivered         int NOT NULL,   -- by the broker; not sent again by the gateway
    unnumbered_stored   int NOT NULL,
    unnumbered_duplicate int NOT NULL,
    unnumbered_rejected int NOT NULL,
    PRIMARY KEY (gateway_id, minute),
    CONSTRAINT balance_minute_adds_up CHECK (numbers + repeated = stored + duplicate + rejected + missing),
    CONSTRAINT balance_minute_not_negative
        CHECK (least(numbers, repeated, stored, duplicate, rejected, missing, redelivered, unnumbered_stored,
                     unnumbered_duplicate, unnumbered_rejected) >= 0)
) WITH (fillfactor = 80);

-- The same by day of the service's time zone: the daily statement.
CREATE TABLE balance_day (
    gateway_id          int NOT NULL,
    day                 date NOT NULL,
    numbers             bigint NOT NULL,
    repeated            bigint NOT NULL,
    sent                bigint NOT NULL GENERATED ALWAYS AS (numbers + repeated) STORED,
    stored              bigint NOT NULL,
    duplicate           bigint NOT NULL,
    rejected            bigint NOT NULL,
    missing             bigint NOT NULL,
    redelivered         bigint NOT NULL,
    unnumbered_stored   bigint NOT NULL,
    unnumbered_duplicate bigint NOT NULL,
    unnumbered_rejected bigint NOT NULL,
    PRIMARY KEY (gateway_id, day),
    CONSTRAINT balance_day_adds_up CHECK (numbers + repeated = stored + duplicate + rejected + missing),
    CONSTRAINT balance_day_not_negative
        CHECK (least(numbers, repeated, stored, duplicate, rejected, missing, redelivered, unnumbered_stored,
                     unnumbered_duplicate, unnumbered_rejected) >= 0)
) WITH (fillfactor = 50);

ALTER TABLE balance_arrival ENABLE ROW LEVEL SECURITY;  -- no policy: a request sees them by the function below only
ALTER TABLE balance_series ENABLE ROW LEVEL SECURITY;
ALTER TABLE balance_minute ENABLE ROW LEVEL SECURITY;
ALTER TABLE balance_day ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON balance_series TO hazardloop_api
    USING (EXISTS (SELECT FROM gateway g WHERE g.gateway_id = balance_series.gateway_id));
CREATE POLICY own_enterprise ON balance_minute TO hazardloop_api
    USING (EXISTS (SELECT FROM gateway g WHERE g.gateway_id = balance_minute.gateway_id));
CREATE POLICY own_enterprise ON balance_day TO hazardloop_api
    USING (EXISTS (SELECT FROM gateway g WHERE g.gateway_id = balance_day.gateway_id));
GRANT SELECT ON balance_series, balance_minute, balance_day TO hazardloop_api;

-- Runs that are not folded yet, of gateways that the request may see, in the order in which they came.
CREATE FUNCTION balance_unfolded(wanted int[])
RETURNS TABLE (gateway_id int, minute int, first_seq bigint, messages int, kind smallint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.gateway_id, u.minute, u.first_seq, u.messages, u.kind
      FROM balance_arrival a,
           unnest(a.gateway_id, a.minute, a.first_seq, a.messages, a.kind) WITH ORDINALITY
               AS u (gateway_id, minute, first_seq, messages, kind, nth)
     WHERE a.gateway_id && wanted AND u.gateway_id = ANY (wanted)
       AND EXISTS (SELECT FROM gateway g WHERE g.gateway_id = u.gateway_id AND may_see(g.enterprise_id))
     ORDER BY a.arrival_id, u.nth
$$;
REVOKE ALL ON FUNCTION balance_unfolded(int[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION balance_unfolded(int[]) TO hazardloop_api;

-- Dead letters beyond those kept of a gateway and minute are one row of each reason, and a count.
ALTER TABLE dead_letter
    ADD messages int NOT NULL DEFAULT 1,        -- that the row stands for
    ADD counted  boolean NOT NULL DEFAULT false, -- only counted: without topic and payload
    ADD CONSTRAINT dead_letter_counts CHECK (messages >= 1 AND (counted OR messages = 1));
CREATE UNIQUE INDEX dead_letter_counted ON dead_letter (coalesce(gateway_id, 0), reason, received_at) WHERE counted;

-- Who asked for a dead letter to be taken again, and what came of it; one open request a letter.
CREATE TABLE dead_letter_retry (
    retry_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dead_letter_id bigint NOT NULL REFERENCES dead_letter ON DELETE CASCADE,
    asked_at       timestamptz NOT NULL DEFAULT now(),
    asked_by       int NOT NULL REFERENCES user_account (user_id),
    taken_at       timestamptz,                  -- by a worker; it may die, then another takes it
    done_at        timestamptz,
    stored         int,                          -- readings
    duplicates     int,                          -- readings that had been stored
    reason         text,                         -- refused again, in whole or part
    detail         text,
    CONSTRAINT dead_letter_retry_tells_its_outcome
        CHECK ((done_at IS NULL) = (stored IS NULL) AND (stored IS NULL) = (duplicates IS NULL)),
    CONSTRAINT dead_letter_retry_reason_has_detail CHECK ((reason IS NULL) = (detail IS NULL))
);
CREATE UNIQUE INDEX dead_letter_retry_open ON dead_letter_retry (dead_letter_id) WHERE done_at IS NULL;
CREATE INDEX dead_letter_retry_letter ON dead_letter_retry (dead_letter_id);
ALTER TABLE dead_letter_retry ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON dead_letter_retry TO hazardloop_api
    USING (EXISTS (SELECT FROM dead_letter l WHERE l.dead_letter_id = dead_letter_retry.dead_letter_id));
GRANT SELECT, INSERT (dead_letter_id, asked_at, asked_by) ON dead_letter_retry TO hazardloop_api;
