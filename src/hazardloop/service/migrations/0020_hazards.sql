-- Hazards (隐患): found by people or by an alarm, put right, closed, looked at again.

CREATE TABLE hazard (
    hazard_id      int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_id  int NOT NULL REFERENCES enterprise,
    hazard_unit_id int,
    alarm_id       uuid REFERENCES alarm,
    sector         text NOT NULL DEFAULT '',          -- decides which regimes are asked for
    grade          text NOT NULL CONSTRAINT hazard_grade_known CHECK (grade IN ('general', 'major')),
    origin         text NOT NULL CONSTRAINT hazard_origin_known CHECK (origin IN
                       ('alarm', 'self_inspection', 'local_inspection', 'county_inspection', 'report')),
    station        text NOT NULL DEFAULT 'found' CONSTRAINT hazard_station_known CHECK (station IN
                       ('found', 'registered', 'rectifying', 'reported', 'closed')),
    revision       int NOT NULL DEFAULT 1,
    title          text NOT NULL CONSTRAINT hazard_is_named CHECK (btrim(title) <> ''),
    place          text NOT NULL DEFAULT '',
    found_at       timestamptz NOT NULL,
    found_by       text NOT NULL,
    responsible    text,
    measures       text,
    funds          text,
    deadline       date,
    plan           text,
    fixers         text[] NOT NULL DEFAULT '{}',      -- user names that put it right or reported it
    notified       boolean NOT NULL DEFAULT false,
    supervised     boolean NOT NULL DEFAULT false,    -- 挂牌督办, at this moment
    supervision    jsonb,                             -- the last listing: level, batch, listed and released on
    returned       int NOT NULL DEFAULT 0,
    recurred       int NOT NULL DEFAULT 0,
    recheck_due    date,
    closed_by      text,
    closed_at      timestamptz,
    FOREIGN KEY (hazard_unit_id, enterprise_id) REFERENCES hazard_unit (hazard_unit_id, enterprise_id),
    CONSTRAINT alarm_found_it CHECK ((origin = 'alarm') = (alarm_id IS NOT NULL)),
    CONSTRAINT closed_hazard_by_another CHECK ((station = 'closed') = (closed_by IS NOT NULL AND closed_at IS NOT NULL)
                                               AND NOT coalesce(closed_by, '') = ANY (fixers)),
    CONSTRAINT major_is_settled CHECK (grade <> 'major' OR station IN ('found', 'registered')
        OR num_nulls(responsible, measures, funds, deadline, plan) = 0)
);
CREATE UNIQUE INDEX hazard_alarm ON hazard (alarm_id);
CREATE INDEX hazard_open ON hazard (enterprise_id, found_at) WHERE station <> 'closed';
CREATE INDEX hazard_recheck ON hazard (recheck_due) WHERE recheck_due IS NOT NULL;

-- Which regimes a sector asks for; of one that is not here all five. Which four fire asks for is a
-- house reading.
CREATE TABLE hazard_regime (
    sector  text PRIMARY KEY,
    regimes text[] NOT NULL CONSTRAINT regimes_known CHECK
                (regimes <@ ARRAY['dispatch', 'ledger', 'close_out', 'notice', 'clear_to_zero'])
);
INSERT INTO hazard_regime VALUES ('fire', ARRAY['dispatch', 'ledger', 'close_out', 'clear_to_zero']);

CREATE TABLE hazard_deed (
    hazard_id     int NOT NULL REFERENCES hazard,
    revision      int NOT NULL,
    act           text NOT NULL,
    actor         text NOT NULL,
    actor_role    text NOT NULL,
    taken_at      timestamptz NOT NULL,
    station       text NOT NULL,                      -- after it
    note          text,
    body          jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (hazard_id, revision)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON hazard_deed FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON hazard FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What alarms/hazard.py promises, promised again.
CREATE FUNCTION refuse_wrong_deed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'hazard %: % does not follow % (revision % after %)', OLD.hazard_id, NEW.station, OLD.station,
          NEW.revision, OLD.revision USING ERRCODE = 'check_violation', CONSTRAINT = 'stations_in_order';
END $$;
CREATE TRIGGER stations_in_order BEFORE UPDATE ON hazard FOR EACH ROW
    WHEN (NEW.revision <> OLD.revision + 1 OR NOT NEW.fixers @> OLD.fixers
          OR NEW.returned < OLD.returned OR NEW.recurred < OLD.recurred
          OR (NEW.hazard_id, NEW.enterprise_id, NEW.alarm_id, NEW.grade, NEW.origin, NEW.title, NEW.found_at, NEW.found_by)
             IS DISTINCT FROM
             (OLD.hazard_id, OLD.enterprise_id, OLD.alarm_id, OLD.grade, OLD.origin, OLD.title, OLD.found_at, OLD.found_by)
          OR NEW.station <> OLD.station AND NEW.station <> CASE OLD.station
                 WHEN 'found' THEN 'registered' WHEN 'registered' THEN 'rectifying' WHEN 'rectifying' THEN 'reported'
                 WHEN 'reported' THEN CASE WHEN NEW.returned > OLD.returned THEN 'rectifying' ELSE 'closed' END
                 WHEN 'closed' THEN CASE WHEN NEW.recurred > OLD.recurred THEN 'registered' ELSE 'closed' END END)
    EXECUTE FUNCTION refuse_wrong_deed();

CREATE FUNCTION refuse_unwritten_deed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM hazard_deed WHERE hazard_id = NEW.hazard_id AND revision = NEW.revision) THEN
        RAISE EXCEPTION 'hazard %: revision % has no deed', NEW.hazard_id, NEW.revision
              USING ERRCODE = 'check_violation', CONSTRAINT = 'every_deed_is_written';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER every_deed_is_written AFTER INSERT OR UPDATE ON hazard
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unwritten_deed();

ALTER TABLE hazard ENABLE ROW LEVEL SECURITY;
ALTER TABLE hazard_deed ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON hazard TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON hazard_deed TO hazardloop_api
    USING (EXISTS (SELECT FROM hazard WHERE hazard.hazard_id = hazard_deed.hazard_id));
GRANT SELECT, INSERT ON hazard, hazard_deed TO hazardloop_api;
GRANT UPDATE (station, revision, responsible, measures, funds, deadline, plan, fixers, notified, supervised, supervision,
              returned, recurred, recheck_due, closed_by, closed_at) ON hazard TO hazardloop_api;
GRANT SELECT ON hazard_regime TO hazardloop_api;
