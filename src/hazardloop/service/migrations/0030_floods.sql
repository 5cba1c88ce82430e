-- Alarm floods at the centre's desk (ISA-18.2): when each began and ended, and what was said of it afterwards.
CREATE TABLE alarm_flood (
    flood_id  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_at  timestamptz NOT NULL,                        -- data time of the raise that made it one
    ended_at  timestamptz,                                 -- null = it goes on
    seats     int NOT NULL CONSTRAINT flood_has_operators CHECK (seats >= 1),
    alarms    int NOT NULL CONSTRAINT flood_has_alarms CHECK (alarms >= 1),  -- those that made it one included
    peak      int NOT NULL CONSTRAINT flood_has_a_peak CHECK (peak >= 1),    -- most in any 10 minutes
    first_out uuid NOT NULL REFERENCES alarm,              -- the alarm with which it began
    note      text,
    noted_by  text,
    noted_at  timestamptz,
    CONSTRAINT flood_ends_after_it_began CHECK (ended_at >= began_at),
    CONSTRAINT flood_noted_by_someone CHECK (num_nonnulls(note, noted_by, noted_at) IN (0, 3)),
    CONSTRAINT flood_noted_when_over CHECK (note IS NULL OR ended_at IS NOT NULL)
);
CREATE UNIQUE INDEX alarm_flood_one_at_a_time ON alarm_flood ((true)) WHERE ended_at IS NULL;
CREATE INDEX alarm_flood_began ON alarm_flood (began_at DESC, flood_id DESC);
CREATE FUNCTION refuse_rewritten_flood() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'flood %: what is over or noted is not rewritten', OLD.flood_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'flood_stays';
END $$;
CREATE TRIGGER flood_stays BEFORE UPDATE ON alarm_flood FOR EACH ROW
    WHEN (OLD.note IS NOT NULL
          OR OLD.ended_at IS NOT NULL
             AND to_jsonb(OLD) - '{note,noted_by,noted_at}'::text[] IS DISTINCT FROM to_jsonb(NEW) - '{note,noted_by,noted_at}'::text[]
          OR (NEW.flood_id, NEW.began_at, NEW.seats, NEW.first_out) IS DISTINCT FROM (OLD.flood_id, OLD.began_at, OLD.seats, OLD.first_out))
    EXECUTE FUNCTION refuse_rewritten_flood();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON alarm_flood FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How far raises have been judged; its lock makes one clerk of many the judge.
CREATE TABLE flood_watch (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    judged_until timestamptz
);
INSERT INTO flood_watch DEFAULT VALUES;

-- The centre's own: no enterprise sees what its operators are burdened with.
ALTER TABLE alarm_flood ENABLE ROW LEVEL SECURITY;
CREATE POLICY the_centre ON alarm_flood TO hazardloop_api USING (current_setting('hazardloop.scope', true) = '*');
GRANT SELECT ON alarm_flood TO hazardloop_api;
GRANT UPDATE (note, noted_by, noted_at) ON alarm_flood TO hazardloop_api;
