-- What was measured, and what was set aside.

-- One row per point and instant; the key is what makes a repeated delivery change nothing.
CREATE TABLE reading (
    point_id    int NOT NULL,
    observed_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    value       double precision NOT NULL,      -- NaN: nothing usable was said
    quality     smallint NOT NULL,              -- bits of devices/readings.py Quality
    PRIMARY KEY (point_id, observed_at)
) PARTITION BY RANGE (observed_at);

-- Makes a partition for each UTC day of the range that has none.
CREATE FUNCTION ensure_reading_partitions(first_day date, last_day date) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    day date;
    made int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('hazardloop.reading_partitions'));
    FOR day IN SELECT generate_series(first_day, last_day, interval '1 day')::date LOOP
        IF to_regclass(format('reading_%s', to_char(day, 'YYYYMMDD'))) IS NULL THEN
            EXECUTE format('CREATE TABLE reading_%s PARTITION OF reading FOR VALUES FROM (%L) TO (%L)',
                           to_char(day, 'YYYYMMDD'),
                           to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00',
                           to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;

ALTER TABLE reading ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON reading TO hazardloop_api
    USING (EXISTS (SELECT FROM point WHERE point.point_id = reading.point_id));
GRANT SELECT ON reading TO hazardloop_api;

CREATE TABLE dead_letter (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at    timestamptz NOT NULL,
    reason         text NOT NULL,
    detail         text NOT NULL,
    topic          text NOT NULL,
    enterprise_id  int REFERENCES enterprise,   -- of the gateway that sent it, where that is known
    gateway_id     int REFERENCES gateway,
    payload        bytea NOT NULL CONSTRAINT dead_letter_payload_bounded CHECK (octet_length(payload) <= 4096),
    payload_bytes  int NOT NULL,                -- before it was cut
    readings       int NOT NULL                 -- how many readings of the message it concerns
);
CREATE INDEX dead_letter_newest ON dead_letter (received_at DESC);
CREATE INDEX dead_letter_gateway ON dead_letter (gateway_id, received_at DESC);
ALTER TABLE dead_letter ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON dead_letter TO hazardloop_api USING (may_see(coalesce(enterprise_id, 0)));
GRANT SELECT ON dead_letter TO hazardloop_api;
