-- How readings are kept: the table itself, its sums of a minute and of an hour, and who may see them.
--
-- Where TimescaleDB can be used, `reading` becomes a hypertable and the sums continuous aggregates;
-- elsewhere it stays in daily partitions and the clerk keeps the sums. Tables, columns, functions and
-- answers are the same on both; only the functions in the last two blocks differ.

-- TimescaleDB compresses no table that has row security. The api reads through the functions below,
-- on both stores; they check whose point it is, and nothing of `reading` is open to its role.
DROP POLICY own_enterprise ON reading;
ALTER TABLE reading DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON reading FROM hazardloop_api;

-- Such a reading counts as bad and nowhere else. 7 = BAD of devices/readings.py.
CREATE FUNCTION reading_is_bad(quality smallint, value double precision) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT quality & 7 <> 0 OR value = 'NaN' $$;

-- Readings of a case that must outlive their time are held back here; until then nothing is.
CREATE FUNCTION readings_are_held(first timestamptz, past timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$ SELECT false $$;

-- Decides the store. CREATE EXTENSION ends the session where the library is not preloaded, so the
-- setting is looked for first; a placeholder of the same name in the configuration is not listed.
DO $$
DECLARE
    usable boolean := EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.disable_load')
                      AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb'
                                   AND string_to_array(split_part(coalesce(installed_version, default_version), '-', 1), '.')::int[]
                                       >= ARRAY[2, 20]);
BEGIN
    IF usable THEN
        BEGIN
            CREATE EXTENSION IF NOT EXISTS timescaledb;
            usable := current_setting('timescaledb.license') = 'timescale';  -- the other lacks compression
        EXCEPTION WHEN insufficient_privilege THEN
            usable := false;
        END;
    END IF;
    PERFORM set_config('hazardloop.timescale', usable::text, true);
END $$;

DO $native$
BEGIN
    IF current_setting('hazardloop.timescale')::boolean THEN RETURN; END IF;

    -- An hour of a day is found without reading the day; costs next to nothing at COPY.
    CREATE INDEX reading_observed ON reading USING brin (observed_at) WITH (pages_per_range = 64);

    CREATE TABLE reading_1min (
        point_id int NOT NULL,
        bucket   timestamptz NOT NULL,          -- its first instant
        min      double precision,              -- these four: null where all were bad
        max      double precision,
        sum      double precision,
        last     double precision,              -- of the newest
        count    int NOT NULL,                  -- without the bad
        bad      int NOT NULL,
        PRIMARY KEY (point_id, bucket)
    ) PARTITION BY RANGE (bucket);
    CREATE TABLE reading_1h (LIKE reading_1min INCLUDING INDEXES) PARTITION BY RANGE (bucket);

    -- Up to where there are sums, and up to where they are being made. A writer of older readings says so.
    CREATE TABLE reading_rollup (
        only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        rolled_to  timestamptz NOT NULL,
        rolling_to timestamptz NOT NULL
    );
    INSERT INTO reading_rollup (rolled_to, rolling_to) VALUES ('2000-01-01 00:00+00', '2000-01-01 00:00+00');

    -- Hours of points that got a reading after they had been summed. Only ever appended to, so that
    -- writers never wait; several lines may say the same.
    CREATE TABLE reading_late (point_id int NOT NULL, hour timestamptz NOT NULL);

    CREATE FUNCTION reading_store() RETURNS text LANGUAGE sql STABLE AS $$
        SELECT 'native daily partitions, sums kept by the clerk' || CASE
               WHEN EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
               THEN ' (TimescaleDB is there, but was not of use when the schema was made)'
               ELSE ' (no TimescaleDB)' END
    $$;

    -- Sums before this instant are complete; what is newer is asked of `reading`.
    CREATE FUNCTION readings_rolled_to() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT rolled_to FROM reading_rollup
    $$;

    -- us since 1970 before which a reading is late for the sums; whoever stores such a one notes its
    -- hour in the same transaction. Its lock makes the clerk wait for readings on their way.
    CREATE FUNCTION reading_late_before() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(hashtext('hazardloop.reading_rollup'));
        RETURN (SELECT extract(epoch FROM rolling_to) * 1000000 FROM reading_rollup);
    END $$;

    CREATE FUNCTION note_late_readings(points int[], hours timestamptz[]) RETURNS void LANGUAGE sql AS $$
        INSERT INTO reading_late SELECT * FROM unnest(points, hours)
    $$;

    -- First instant of the oldest day that has readings; null: there are none.
    CREATE FUNCTION first_day_of_readings() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
    DECLARE
        day text;
        any_there boolean;
    BEGIN
        FOR day IN SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
                    WHERE inhparent = 'reading'::regclass ORDER BY relname LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', day) INTO any_there;
            IF any_there THEN RETURN to_date(right(day, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC'; END IF;
        END LOOP;
        RETURN NULL;
    END $$;

    -- From now on readings before `target` are late. Waits for writers under way, but not for long:
    -- those who come after it wait behind it. The first sums begin where the readings do.
    CREATE FUNCTION promise_rollups(target timestamptz) RETURNS void LANGUAGE plpgsql
    SET lock_timeout = '2s' AS $$
    BEGIN
        IF (SELECT rolling_to < target FROM reading_rollup) THEN
            PERFORM pg_advisory_xact_lock(hashtext('hazardloop.reading_rollup'));
            UPDATE reading_rollup SET rolling_to = target, rolled_to = CASE
                   WHEN rolled_to > '2000-01-01 00:00+00' THEN rolled_to ELSE least(first_day_of_readings(), target) END;
        END IF;
    EXCEPTION WHEN lock_not_available THEN
        RETURN;  -- a writer takes its time: the next round tries again
    END $$;

    -- The statement that sums the readings of `source` by minute, and the minutes before $3 by hour. It
    -- fails where there are such sums, unless told to put itself in their place, which costs more.
    CREATE FUNCTION rollup_statement(source text, anew boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT format($sql$
            WITH minute AS (
                INSERT INTO reading_1min AS kept
                SELECT point_id, date_bin('1 minute', observed_at, '2000-01-01 00:00+00'),
                       min(value) FILTER (WHERE usable), max(value) FILTER (WHERE usable),
                       sum(value) FILTER (WHERE usable),
                       (array_agg(value ORDER BY observed_at DESC) FILTER (WHERE usable))[1],
                       count(*) FILTER (WHERE usable), count(*) FILTER (WHERE NOT usable)
                  FROM (SELECT r.point_id, r.observed_at, r.value, NOT reading_is_bad(r.quality, r.value) AS usable FROM %1$s) AS r
                 GROUP BY 1, 2 ORDER BY 1, 2 %2$s
                RETURNING kept.*)
            INSERT INTO reading_1h
            SELECT point_id, date_bin('1 hour', bucket, '2000-01-01 00:00+00'), min(min), max(max), sum(sum),
                   (array_agg(last ORDER BY bucket DESC) FILTER (WHERE count > 0))[1], sum(count), sum(bad)
              FROM minute WHERE bucket < $3 GROUP BY 1, 2 ORDER BY 1, 2 %2$s$sql$,
            source, CASE WHEN anew THEN 'ON CONFLICT (point_id, bucket) DO UPDATE
                SET min = excluded.min, max = excluded.max, sum = excluded.sum, last = excluded.last,
                    count = excluded.count, bad = excluded.bad' ELSE '' END)
    $$;

    CREATE FUNCTION roll_hour(hour timestamptz) RETURNS void LANGUAGE plpgsql SET work_mem = '32MB' AS $$
    DECLARE
        past timestamptz := hour + interval '1 hour';
        source text := 'reading r WHERE observed_at >= $1 AND observed_at < $2';
    BEGIN
        PERFORM brin_summarize_new_values(i.indexrelid)
           FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
          WHERE i.indrelid = to_regclass('reading_' || to_char(hour AT TIME ZONE 'UTC', 'YYYYMMDD')) AND a.amname = 'brin';
        BEGIN
            EXECUTE rollup_statement(source, anew => false) USING hour, past, past;
        EXCEPTION WHEN unique_violation THEN
            EXECUTE rollup_statement(source, anew => true) USING hour, past, past;
        END;
        UPDATE reading_rollup SET rolled_to = past;
    END $$;

    -- Sums anew what was late, as the readings are now; how many notes it settled.
    CREATE FUNCTION repair_rollups(most int) RETURNS int LANGUAGE plpgsql AS $$
    DECLARE
        points int[];
        hours timestamptz[];
        settled int;
    BEGIN
        WITH taken AS (DELETE FROM reading_late WHERE ctid = ANY (ARRAY(SELECT ctid FROM reading_late LIMIT most)) RETURNING *),
             late AS (SELECT point_id, hour FROM taken GROUP BY 1, 2)
        SELECT array_agg(point_id), array_agg(hour), (SELECT count(*) FROM taken) INTO points, hours, settled FROM late;
        -- A statement of its own: it sees every reading whose note was just taken away.
        EXECUTE rollup_statement('unnest($1, $2) AS late (point, hour) JOIN reading r ON r.point_id = point
            AND r.observed_at >= hour AND r.observed_at < least(hour + interval ''1 hour'', $3)', anew => true)
          USING points, hours, readings_rolled_to();
        RETURN settled;
    END $$;

    -- Sums what is whole by now, hour by hour, and repairs what was late; commits as it goes.
    CREATE PROCEDURE roll_readings() LANGUAGE plpgsql AS $$
    DECLARE
        hour timestamptz;
    BEGIN
        IF NOT pg_try_advisory_lock(hashtext('hazardloop.roll_readings')) THEN RETURN; END IF;
        PERFORM promise_rollups(date_trunc('hour', clock_timestamp() - interval '5 minutes', 'UTC'));
        COMMIT;
        LOOP
            SELECT rolled_to INTO hour FROM reading_rollup WHERE rolled_to < rolling_to;
            EXIT WHEN NOT FOUND;
            PERFORM roll_hour(hour);
            COMMIT;
        END LOOP;
        WHILE repair_rollups(20000) > 0 LOOP
            COMMIT;
        END LOOP;
        PERFORM pg_advisory_unlock(hashtext('hazardloop.roll_readings'));
    END $$;

    -- Makes the partitions of a range of UTC days that are not there; how many were made.
    CREATE FUNCTION ensure_partition(parent text, name text, since timestamp, past timestamp) RETURNS int LANGUAGE plpgsql AS $$
    BEGIN
        IF to_regclass(name) IS NOT NULL THEN RETURN 0; END IF;
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                       name, parent, since AT TIME ZONE 'UTC', past AT TIME ZONE 'UTC');
        RETURN 1;
    END $$;
    CREATE OR REPLACE FUNCTION ensure_reading_partitions(first_day date, last_day date) RETURNS int LANGUAGE plpgsql AS $$
    DECLARE
        made int := 0;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('hazardloop.reading_partitions'));
        SELECT sum(ensure_partition('reading', 'reading_' || to_char(t, 'YYYYMMDD'), t, t + interval '1 day')) INTO made
          FROM generate_series(first_day::timestamp, last_day, interval '1 day') t;
        PERFORM ensure_partition('reading_1min', 'reading_1min_' || to_char(t, 'YYYYMM'), t, t + interval '1 month')
           FROM generate_series(date_trunc('month', first_day::timestamp), last_day, interval '1 month') t;
        PERFORM ensure_partition('reading_1h', 'reading_1h_' || to_char(t, 'YYYY'), t, t + interval '1 year')
           FROM generate_series(date_trunc('year', first_day::timestamp), last_day, interval '1 year') t;
        RETURN coalesce(made, 0);
    END $$;
    PERFORM ensure_reading_partitions(min(day), max(day))
       FROM (SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day FROM pg_inherits JOIN pg_class ON oid = inhrelid
              WHERE inhparent = 'reading'::regclass) AS days;

    -- Drops the partitions that had their time, never one that is not summed up yet; how many.
    CREATE FUNCTION tend_readings(raw_days int, minute_days int, hour_days int) RETURNS int LANGUAGE plpgsql
    SET lock_timeout = '2s' AS $$
    DECLARE
        part record;
        dropped int := 0;
    BEGIN
        FOR part IN
            SELECT child, parent, bound[1]::timestamptz AS first, bound[2]::timestamptz AS past
              FROM (SELECT c.relname AS child, p.relname AS parent,
                           regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(.*)''\) TO \(''(.*)''\)') AS bound
                      FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid JOIN pg_class p ON p.oid = inhparent
                     WHERE inhparent IN ('reading'::regclass, 'reading_1min'::regclass, 'reading_1h'::regclass)) AS parts
        LOOP
            CONTINUE WHEN part.past > now() - interval '1 day' * CASE part.parent
                WHEN 'reading' THEN raw_days WHEN 'reading_1min' THEN minute_days ELSE hour_days END;
            CONTINUE WHEN part.parent = 'reading'
                AND (part.past > readings_rolled_to() OR readings_are_held(part.first, part.past));
            BEGIN
                EXECUTE format('DROP TABLE %I', part.child);
                dropped := dropped + 1;
            EXCEPTION WHEN lock_not_available THEN
                CONTINUE;  -- somebody reads it: the next round tries again
            END;
        END LOOP;
        RETURN dropped;
    END $$;
END $native$;

DO $timescale$
BEGIN
    IF NOT current_setting('hazardloop.timescale')::boolean THEN RETURN; END IF;

    ALTER TABLE reading RENAME TO reading_before;
    ALTER TABLE reading_before RENAME CONSTRAINT reading_pkey TO reading_before_pkey;
    CREATE TABLE reading (LIKE reading_before INCLUDING INDEXES);
    PERFORM create_hypertable('reading', by_range('observed_at', interval '1 day'), create_default_indexes => false);
    INSERT INTO reading SELECT * FROM reading_before;
    DROP TABLE reading_before;
    ALTER TABLE reading SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'point_id',
                             timescaledb.orderby = 'observed_at');

    -- `last` is of the newest that is not bad; not yet summed readings are summed when asked for.
    CREATE MATERIALIZED VIEW reading_1min WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT point_id, time_bucket('1 minute', observed_at) AS bucket,
           min(value) FILTER (WHERE NOT reading_is_bad(quality, value)) AS min,
           max(value) FILTER (WHERE NOT reading_is_bad(quality, value)) AS max,
           sum(value) FILTER (WHERE NOT reading_is_bad(quality, value)) AS sum,
           last(value, observed_at) FILTER (WHERE NOT reading_is_bad(quality, value)) AS last,
           (count(*) FILTER (WHERE NOT reading_is_bad(quality, value)))::int AS count,
           (count(*) FILTER (WHERE reading_is_bad(quality, value)))::int AS bad
      FROM reading GROUP BY 1, 2 WITH NO DATA;
    CREATE MATERIALIZED VIEW reading_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT point_id, time_bucket('1 hour', bucket) AS bucket, min(min) AS min, max(max) AS max, sum(sum) AS sum,
           last(last, bucket) FILTER (WHERE count > 0) AS last, sum(count)::int AS count, sum(bad)::int AS bad
      FROM reading_1min GROUP BY 1, 2 WITH NO DATA;

    CREATE FUNCTION reading_store() RETURNS text LANGUAGE sql STABLE AS $$
        SELECT 'TimescaleDB ' || extversion || ': hypertable with continuous aggregates' FROM pg_extension WHERE extname = 'timescaledb'
    $$;

    -- The views answer for every instant, and TimescaleDB itself notes what came late.
    CREATE FUNCTION readings_rolled_to() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT 'infinity'::timestamptz $$;
    CREATE FUNCTION reading_late_before() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT -9223372036854775808 $$;
    CREATE FUNCTION note_late_readings(points int[], hours timestamptz[]) RETURNS void LANGUAGE sql AS $$ SELECT $$;

    -- 32 days: as far back as a reading may come late. Only what changed is summed again.
    CREATE PROCEDURE roll_readings() LANGUAGE plpgsql AS $$
    DECLARE
        past timestamptz := date_trunc('hour', clock_timestamp() - interval '5 minutes', 'UTC');
    BEGIN
        IF NOT pg_try_advisory_lock(hashtext('hazardloop.roll_readings')) THEN RETURN; END IF;
        CALL refresh_continuous_aggregate('reading_1min', past - interval '32 days', past);
        CALL refresh_continuous_aggregate('reading_1h', past - interval '32 days', past);
        PERFORM pg_advisory_unlock(hashtext('hazardloop.roll_readings'));
    END $$;

    -- Chunks are made by whoever writes.
    CREATE OR REPLACE FUNCTION ensure_reading_partitions(first_day date, last_day date) RETURNS int
    LANGUAGE sql IMMUTABLE AS $$ SELECT 0 $$;

    -- Drops the chunks that had their time, and compresses one that no late reading can fall into any
    -- more; how many were dropped. Settings decide, not policies: they may change at any start.
    CREATE FUNCTION tend_readings(raw_days int, minute_days int, hour_days int) RETURNS int LANGUAGE plpgsql AS $$
    DECLARE
        part record;
        dropped int := 0;
    BEGIN
        FOR part IN
            SELECT hypertable_name, range_start, range_end FROM timescaledb_information.chunks
             WHERE hypertable_name = 'reading' AND range_end <= now() - interval '1 day' * raw_days
        LOOP
            CONTINUE WHEN readings_are_held(part.range_start, part.range_end);
            PERFORM drop_chunks('reading', older_than => part.range_end, newer_than => part.range_start);
            dropped := dropped + 1;
        END LOOP;
        dropped := dropped + (SELECT count(*) FROM drop_chunks('reading_1min', older_than => now() - interval '1 day' * minute_days))
                           + (SELECT count(*) FROM drop_chunks('reading_1h', older_than => now() - interval '1 day' * hour_days));
        PERFORM compress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass)
           FROM (SELECT chunk_schema, chunk_name FROM timescaledb_information.chunks
                  WHERE hypertable_name = 'reading' AND NOT is_compressed AND range_end <= now() - interval '32 days'
                  ORDER BY range_start LIMIT 1) AS oldest;
        RETURN dropped;
    END $$;
END $timescale$;

-- What the api may ask. Each function looks first whether the request may see the point, so that a
-- question about somebody else's finds nothing, whatever the query around it.
CREATE FUNCTION may_see_point(point int) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM point p WHERE p.point_id = point AND may_see(p.enterprise_id))
$$;

CREATE FUNCTION newest_reading(of_point int, since timestamptz)
RETURNS TABLE (value double precision, quality smallint, observed_at timestamptz, received_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    IF may_see_point(of_point) THEN
        RETURN QUERY SELECT value, quality, observed_at, received_at FROM reading
                      WHERE point_id = of_point AND observed_at > since ORDER BY observed_at DESC LIMIT 1;
    END IF;
END $$;

CREATE FUNCTION readings_of(of_point int, since timestamptz, until timestamptz, most int)
RETURNS TABLE (observed_at timestamptz, value double precision, quality smallint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    IF may_see_point(of_point) THEN
        RETURN QUERY SELECT observed_at, value, quality FROM reading
                      WHERE point_id = of_point AND observed_at >= since AND observed_at < until
                      ORDER BY observed_at LIMIT most;
    END IF;
END $$;

-- Sums of a width, counted from 2000-01-01: from the hours or the minutes where the width is a multiple
-- of them, and from the readings themselves before the first whole one and after the last.
CREATE FUNCTION reading_buckets(of_point int, since timestamptz, until timestamptz, width interval, most int)
RETURNS TABLE (start timestamptz, min double precision, max double precision, mean double precision,
               last double precision, count bigint, bad bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    origin CONSTANT timestamptz := '2000-01-01 00:00+00';
    grain interval := CASE WHEN extract(epoch FROM width) % 3600 = 0 THEN interval '1 hour'
                           WHEN extract(epoch FROM width) % 60 = 0 THEN interval '1 minute' END;
    summed_from timestamptz := date_bin(grain, since + grain - interval '1 microsecond', origin);
    summed_to timestamptz := date_bin(grain, least(until, readings_rolled_to()), origin);
BEGIN
    IF NOT may_see_point(of_point) THEN RETURN; END IF;
    IF grain IS NULL OR summed_from >= summed_to THEN
        summed_from := until;
        summed_to := until;
    END IF;
    RETURN QUERY
    SELECT date_bin(width, at, origin) AS start, min(low), max(high), sum(total) / nullif(sum(usable), 0),
           (array_agg(newest ORDER BY at DESC) FILTER (WHERE usable > 0))[1], sum(usable), sum(unusable)
      FROM (SELECT bucket AS at, min AS low, max AS high, sum AS total, last AS newest, count AS usable, bad AS unusable
              FROM reading_1h
             WHERE grain = interval '1 hour' AND point_id = of_point AND bucket >= summed_from AND bucket < summed_to
            UNION ALL
            SELECT bucket, min, max, sum, last, count, bad
              FROM reading_1min
             WHERE grain = interval '1 minute' AND point_id = of_point AND bucket >= summed_from AND bucket < summed_to
            UNION ALL
            SELECT observed_at, good, good, good, good, (good IS NOT NULL)::int, (good IS NULL)::int
              FROM (SELECT observed_at, CASE WHEN NOT reading_is_bad(quality, value) THEN value END AS good
                      FROM reading WHERE point_id = of_point AND observed_at >= since AND observed_at < summed_from
                    UNION ALL
                    SELECT observed_at, CASE WHEN NOT reading_is_bad(quality, value) THEN value END
                      FROM reading WHERE point_id = of_point AND observed_at >= summed_to AND observed_at < until) AS raw) AS parts
     GROUP BY 1 ORDER BY 1 LIMIT most;
END $$;

REVOKE ALL ON FUNCTION newest_reading, readings_of, reading_buckets FROM PUBLIC;
GRANT EXECUTE ON FUNCTION newest_reading, readings_of, reading_buckets TO hazardloop_api;
