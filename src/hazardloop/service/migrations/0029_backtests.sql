-- Backtests: history replayed through candidate rules, asked for over the api and done by a clerk.

CREATE TABLE backtest (
    backtest_id   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_id int REFERENCES enterprise,           -- whose points; null: of all
    asked_by      text NOT NULL,
    asked_at      timestamptz NOT NULL,
    question      jsonb NOT NULL,
    begun_at      timestamptz,
    share         real NOT NULL DEFAULT 0 CONSTRAINT share_is_a_part CHECK (share BETWEEN 0 AND 1),
    readings      bigint NOT NULL DEFAULT 0,
    cancelled_at  timestamptz,
    cancelled_by  text,
    ended_at      timestamptz,
    result        jsonb,
    failure       text,
    CONSTRAINT cancelled_by_someone CHECK ((cancelled_at IS NULL) = (cancelled_by IS NULL)),
    CONSTRAINT ended_somehow CHECK (ended_at IS NULL AND result IS NULL AND failure IS NULL
                                    OR ended_at IS NOT NULL AND (num_nonnulls(result, failure) = 1 OR cancelled_at IS NOT NULL))
);
CREATE INDEX backtest_waiting ON backtest (asked_by) WHERE ended_at IS NULL;

ALTER TABLE backtest ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON backtest TO hazardloop_api USING (may_see(enterprise_id));
GRANT SELECT ON backtest TO hazardloop_api;
GRANT INSERT (enterprise_id, asked_by, asked_at, question), UPDATE (cancelled_at, cancelled_by, ended_at)
    ON backtest TO hazardloop_api;

-- As readings_of, with when each was received: whether it came in time to be alarmed.
CREATE FUNCTION readings_received(of_point int, since timestamptz, until timestamptz, most int)
RETURNS TABLE (observed_at timestamptz, received_at timestamptz, value double precision, quality smallint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    IF may_see_point(of_point) THEN
        RETURN QUERY SELECT observed_at, received_at, value, quality FROM reading
                      WHERE point_id = of_point AND observed_at >= since AND observed_at < until
                      ORDER BY observed_at LIMIT most;
    END IF;
END $$;
REVOKE ALL ON FUNCTION readings_received FROM PUBLIC;
GRANT EXECUTE ON FUNCTION readings_received TO hazardloop_api;
