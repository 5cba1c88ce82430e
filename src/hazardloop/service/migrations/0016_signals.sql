-- The signal side of an alarm by ISA-18.2 / IEC 62682: latches, and what withholds annunciation.

ALTER TABLE alarm
    ADD COLUMN latched boolean NOT NULL DEFAULT false,    -- stays on the list until a person resets it
    ADD COLUMN hold_id bigint;                            -- the hold its history last spoke of
CREATE INDEX alarm_latched ON alarm (alarm_id) WHERE latched;
CREATE INDEX alarm_held ON alarm (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX alarm_active_device ON alarm (device_id) WHERE cleared_at IS NULL;

-- Where a person stood who acknowledged, in words or on the map.
ALTER TABLE alarm_change
    ADD COLUMN place     text CONSTRAINT place_is_short CHECK (length(place) <= 200),
    ADD COLUMN latitude  double precision CONSTRAINT latitude_in_degrees CHECK (latitude BETWEEN -90 AND 90),
    ADD COLUMN longitude double precision CONSTRAINT longitude_in_degrees CHECK (longitude BETWEEN -180 AND 180),
    ADD CONSTRAINT coordinates_are_two CHECK ((latitude IS NULL) = (longitude IS NULL)),
    DROP CONSTRAINT alarm_change_change_check,
    ADD CONSTRAINT alarm_change_known CHECK (change IN
        ('raised', 'tier', 'cleared', 'acknowledged', 'unacknowledged', 're_alarmed', 'reset',
         'shelved', 'suppressed', 'out_of_service', 'returned'));

-- What withholds sound, flash and notices of alarms, never their record, case or figures: by whom,
-- why, until when. Asked, granted, ended; in force from the grant until `until` at the latest.
CREATE TABLE alarm_hold (
    hold_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL CONSTRAINT hold_kind_known CHECK (kind IN ('shelved', 'suppressed', 'out_of_service')),
    enterprise_id int NOT NULL,
    device_id     int NOT NULL,
    point_id      int REFERENCES point,              -- null: all points of the device
    rule_id       text,                              -- null: all rules
    while_rule    text,                              -- in force only while an alarm of this rule is active at the device
    tier          smallint NOT NULL CHECK (tier BETWEEN 1 AND 4),    -- the worst that it withholds
    reason        text NOT NULL CONSTRAINT hold_has_a_reason CHECK (btrim(reason) <> ''),
    permit        text,
    responsible   text,                              -- who does the work
    replacement   text,                              -- what watches in the meantime
    asked_at      timestamptz NOT NULL,
    asked_by      text NOT NULL,
    asked_role    text NOT NULL,
    approver      text,                              -- who was asked to grant it
    granted_at    timestamptz,
    granted_by    text,
    granted_role  text,
    until         timestamptz NOT NULL,
    ended_at      timestamptz,
    ended_by      text,
    ended_why     text CONSTRAINT hold_end_known CHECK (ended_why IN
                      ('released', 'timed_out', 'tier_rose', 'second_sensor', 'declined', 'withdrawn', 'lapsed')),
    end_note      text,
    FOREIGN KEY (device_id, enterprise_id) REFERENCES device (device_id, enterprise_id),
    CONSTRAINT hold_is_granted_whole CHECK (num_nulls(granted_at, granted_by, granted_role) IN (0, 3)),
    CONSTRAINT hold_is_ended_whole CHECK (num_nulls(ended_at, ended_by, ended_why) IN (0, 3)),
    CONSTRAINT hold_granted_by_the_centre CHECK (granted_role IN ('operator', 'supervisor')),
    CONSTRAINT hold_on_red_has_two CHECK (tier < 4 OR granted_at IS NULL
        OR (granted_role = 'supervisor' AND granted_by <> asked_by)),
    CONSTRAINT hold_by_design_spares_red CHECK (kind <> 'suppressed' OR tier < 4),
    CONSTRAINT hold_ends_by_itself CHECK (until > asked_at AND until <= asked_at + CASE
        WHEN kind = 'shelved' AND tier <= 2 THEN interval '8 hours'
        WHEN kind = 'shelved' THEN interval '1 hour'
        WHEN kind = 'out_of_service' AND tier < 4 THEN interval '7 days'
        WHEN kind = 'out_of_service' THEN interval '24 hours'
        ELSE interval '90 days' END),
    CONSTRAINT shelf_is_of_a_rule CHECK (kind <> 'shelved' OR (point_id IS NOT NULL AND rule_id IS NOT NULL)),
    CONSTRAINT suppression_has_a_design CHECK (kind <> 'suppressed'
        OR (while_rule IS NOT NULL AND btrim(coalesce(permit, '')) <> '')),
    CONSTRAINT maintenance_has_a_permit CHECK (kind <> 'out_of_service'
        OR (btrim(coalesce(permit, '')) <> '' AND btrim(coalesce(responsible, '')) <> ''
            AND btrim(coalesce(replacement, '')) <> ''))
);
ALTER TABLE alarm ADD FOREIGN KEY (hold_id) REFERENCES alarm_hold;
ALTER TABLE alarm_change ADD COLUMN hold_id bigint REFERENCES alarm_hold;    -- that began or ended with this line
CREATE INDEX alarm_change_hold ON alarm_change (hold_id) WHERE hold_id IS NOT NULL;
CREATE UNIQUE INDEX hold_one_of_a_kind ON alarm_hold (kind, device_id, coalesce(point_id, 0), coalesce(rule_id, ''))
    WHERE ended_at IS NULL;
CREATE INDEX hold_device ON alarm_hold (device_id);
CREATE INDEX hold_due ON alarm_hold (until) WHERE ended_at IS NULL;

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON alarm_hold FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE FUNCTION refuse_rewritten_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'hold %: what was asked, granted and ended is not rewritten', OLD.hold_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_stays';
END $$;
CREATE TRIGGER hold_stays BEFORE UPDATE ON alarm_hold FOR EACH ROW
    WHEN (to_jsonb(OLD) - '{granted_at,granted_by,granted_role,ended_at,ended_by,ended_why,end_note}'::text[]
          IS DISTINCT FROM to_jsonb(NEW) - '{granted_at,granted_by,granted_role,ended_at,ended_by,ended_why,end_note}'::text[]
          OR (OLD.granted_at IS NOT NULL AND (NEW.granted_at, NEW.granted_by, NEW.granted_role)
              IS DISTINCT FROM (OLD.granted_at, OLD.granted_by, OLD.granted_role))
          OR OLD.ended_at IS NOT NULL)
    EXECUTE FUNCTION refuse_rewritten_hold();

ALTER TABLE alarm_hold ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON alarm_hold TO hazardloop_api USING (may_see(enterprise_id));
-- An enterprise asks and withdraws; it never grants itself that its alarms keep quiet.
CREATE POLICY enterprise_asks_only ON alarm_hold AS RESTRICTIVE FOR INSERT TO hazardloop_api
    WITH CHECK (current_setting('hazardloop.scope', true) = '*' OR (granted_at IS NULL AND ended_at IS NULL));
CREATE POLICY enterprise_withdraws_only ON alarm_hold AS RESTRICTIVE FOR UPDATE TO hazardloop_api
    USING (current_setting('hazardloop.scope', true) = '*' OR granted_at IS NULL)
    WITH CHECK (current_setting('hazardloop.scope', true) = '*' OR (granted_at IS NULL AND ended_why = 'withdrawn'));
GRANT SELECT, INSERT ON alarm_hold TO hazardloop_api;
GRANT UPDATE (granted_at, granted_by, granted_role, ended_at, ended_by, ended_why, end_note) ON alarm_hold TO hazardloop_api;

-- Computed from `until` wherever it is asked, so a hold ends by itself though nobody be there to end it.
CREATE FUNCTION hold_in_force(hold alarm_hold, at timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT hold.granted_at IS NOT NULL AND hold.ended_at IS NULL AND hold.until > at
       AND (hold.while_rule IS NULL
            OR EXISTS (SELECT FROM alarm WHERE alarm.device_id = hold.device_id
                          AND alarm.rule_id = hold.while_rule AND alarm.cleared_at IS NULL))
$$;

-- The hold that withholds an alarm; null: none does. Of several the one that is hardest to end.
CREATE FUNCTION hold_of(held alarm, at timestamptz) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT h.hold_id FROM alarm_hold h
     WHERE h.device_id = held.device_id AND h.ended_at IS NULL
       AND (h.point_id IS NULL OR h.point_id = held.point_id) AND (h.rule_id IS NULL OR h.rule_id = held.rule_id)
       AND h.while_rule IS DISTINCT FROM held.rule_id AND h.tier >= held.tier AND hold_in_force(h, at)
     ORDER BY array_position(ARRAY['out_of_service', 'suppressed', 'shelved'], h.kind), h.hold_id LIMIT 1
$$;

-- Whether sound, flash and notices of an alarm go out.
CREATE FUNCTION alarm_annunciated(of_alarm uuid, at timestamptz DEFAULT clock_timestamp()) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT FROM alarm a JOIN alarm_hold h USING (hold_id)
                        WHERE a.alarm_id = of_alarm AND h.tier >= a.tier AND hold_in_force(h, at))
$$;

-- Brings alarms and their history in line with the holds; which alarms changed. An alarm that comes back
-- with its condition true is unacknowledged: it is annunciated anew.
CREATE FUNCTION settle_holds(device_ids int[], alarm_ids uuid[], at timestamptz) RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    settled uuid[];
BEGIN
    IF NOT EXISTS (SELECT FROM alarm_hold WHERE device_id = ANY (device_ids)) THEN
        RETURN '{}';
    END IF;
    WITH locked AS (
        SELECT a.alarm_id FROM alarm a
         WHERE (a.device_id = ANY (device_ids) AND (a.cleared_at IS NULL OR a.latched OR a.hold_id IS NOT NULL))
            OR (a.alarm_id = ANY (alarm_ids) AND (a.cleared_at IS NULL OR a.latched OR a.acknowledged_at IS NULL))
         ORDER BY a.alarm_id FOR NO KEY UPDATE
    ), judged AS (
        SELECT a.alarm_id, a.hold_id AS was, hold_of(a, at) AS holds FROM alarm a JOIN locked USING (alarm_id)
    ), changed AS (
        UPDATE alarm a
           SET hold_id = j.holds, version = a.version + 1,
               acknowledged_at = CASE WHEN j.holds IS NOT NULL OR a.cleared_at IS NOT NULL THEN a.acknowledged_at END,
               acknowledged_by = CASE WHEN j.holds IS NOT NULL OR a.cleared_at IS NOT NULL THEN a.acknowledged_by END,
               acknowledge_note = CASE WHEN j.holds IS NOT NULL OR a.cleared_at IS NOT NULL THEN a.acknowledge_note END
          FROM judged j WHERE j.alarm_id = a.alarm_id AND j.holds IS DISTINCT FROM j.was
        RETURNING a.alarm_id, a.version, a.tier_now, j.was, j.holds
    ), noted AS (
        INSERT INTO alarm_change (alarm_id, version, change, tier, changed_at, hold_id, actor, note)
        SELECT c.alarm_id, c.version, coalesce(held.kind, 'returned'), c.tier_now, at, coalesce(c.holds, c.was),
               coalesce(held.granted_by, freed.ended_by, 'system'),
               coalesce(held.reason, freed.ended_why,
                        CASE WHEN freed.until <= at THEN 'timed_out' ELSE 'condition_over' END)
          FROM changed c LEFT JOIN alarm_hold held ON held.hold_id = c.holds
               LEFT JOIN alarm_hold freed ON freed.hold_id = c.was
        RETURNING alarm_id
    ) SELECT array_agg(alarm_id) INTO settled FROM noted;
    RETURN coalesce(settled, '{}');
END $$;

-- People acknowledge, take that back, and reset; holds are written by settle_holds alone.
GRANT UPDATE (latched) ON alarm TO hazardloop_api;
DROP POLICY people_acknowledge_only ON alarm_change;
CREATE POLICY people_acknowledge_only ON alarm_change AS RESTRICTIVE FOR INSERT TO hazardloop_api
    WITH CHECK (change IN ('acknowledged', 'unacknowledged', 'reset') AND actor IS NOT NULL);

-- A latch is set by the raise alone, and let go of only where the condition is normal.
CREATE FUNCTION refuse_loose_latch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'alarm %: a latch is set when it is raised and reset once its condition is normal', OLD.alarm_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'latch_needs_a_normal_condition';
END $$;
CREATE TRIGGER latch_stays BEFORE UPDATE ON alarm FOR EACH ROW
    WHEN (NEW.latched AND NOT OLD.latched OR OLD.latched AND NOT NEW.latched AND NEW.cleared_at IS NULL)
    EXECUTE FUNCTION refuse_loose_latch();

-- Drills and proof tests, announced before they begin: what they raise runs the whole chain and is kept
-- apart from the figures. Nothing marks an alarm afterwards.
CREATE TABLE drill (
    drill_id       int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_id  int NOT NULL REFERENCES enterprise,
    kind           text NOT NULL CONSTRAINT drill_kind_known CHECK (kind IN ('drill', 'proof_test')),
    title          text NOT NULL CONSTRAINT drill_has_a_title CHECK (btrim(title) <> ''),
    tier           smallint NOT NULL CHECK (tier BETWEEN 1 AND 4),       -- the worst that is announced
    starts_at      timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL,
    announced_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    announced_by   text NOT NULL,
    cancelled_at   timestamptz,
    cancelled_by   text,
    -- Every worker has learned of it by then.
    CONSTRAINT drill_announced_in_advance CHECK (starts_at >= announced_at + interval '5 seconds'),
    CONSTRAINT drill_ends_within_a_day CHECK (ends_at > starts_at AND ends_at <= starts_at + interval '24 hours'),
    CONSTRAINT drill_cancelled_by_someone CHECK ((cancelled_at IS NULL) = (cancelled_by IS NULL)),
    CONSTRAINT drill_cancelled_before_it_begins CHECK (cancelled_at < starts_at)
);
CREATE INDEX drill_ends ON drill (ends_at) WHERE cancelled_at IS NULL;

-- Its scope, as it was announced: a point that is registered later is in no drill.
CREATE TABLE drill_point (
    drill_id      int NOT NULL REFERENCES drill,
    point_id      int NOT NULL REFERENCES point,
    expected      boolean NOT NULL DEFAULT false,
    expected_tier smallint CONSTRAINT drill_expected_tier CHECK (expected_tier IS NULL OR (expected AND expected_tier BETWEEN 1 AND 4)),
    PRIMARY KEY (drill_id, point_id)
);

ALTER TABLE alarm ADD COLUMN drill_id int REFERENCES drill;
CREATE INDEX alarm_of_drill ON alarm (drill_id) WHERE drill_id IS NOT NULL;

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON drill FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON drill_point FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_rewritten_drill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'drill %: what was announced stays; it is cancelled before it begins, or held', OLD.drill_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'drill_stays';
END $$;
CREATE TRIGGER drill_stays BEFORE UPDATE ON drill FOR EACH ROW
    WHEN (OLD.cancelled_at IS NOT NULL
          OR to_jsonb(OLD) - '{cancelled_at,cancelled_by}'::text[] IS DISTINCT FROM to_jsonb(NEW) - '{cancelled_at,cancelled_by}'::text[])
    EXECUTE FUNCTION refuse_rewritten_drill();

-- The scope is written with the announcement, and never widened.
CREATE FUNCTION refuse_late_scope() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM drill WHERE drill_id = NEW.drill_id
                      AND xmin::text::bigint = pg_current_xact_id()::text::bigint % 4294967296) THEN
        RAISE EXCEPTION 'drill %: its scope was announced already', NEW.drill_id
              USING ERRCODE = 'check_violation', CONSTRAINT = 'drill_scope_stays';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER drill_scope_stays BEFORE INSERT ON drill_point FOR EACH ROW EXECUTE FUNCTION refuse_late_scope();

-- Whether an alarm of this tier, raised then at that point, was announced by that drill.
CREATE FUNCTION drill_covers(of_drill int, at_point int, raised timestamptz, of_tier int) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM drill d JOIN drill_point p USING (drill_id)
                    WHERE d.drill_id = of_drill AND p.point_id = at_point AND d.cancelled_at IS NULL
                      AND raised >= d.starts_at AND raised < d.ends_at
                      AND of_tier <= coalesce(p.expected_tier, d.tier))
$$;

-- What no drill announced is real, whoever says otherwise; so is what gets worse than was announced.
CREATE FUNCTION unmark_what_is_real() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.drill := coalesce(drill_covers(NEW.drill_id, NEW.point_id, NEW.raised_at, NEW.tier), false);
    RETURN NEW;
END $$;
CREATE TRIGGER real_unless_announced BEFORE INSERT ON alarm FOR EACH ROW
    WHEN (NEW.drill OR NEW.drill_id IS NOT NULL) EXECUTE FUNCTION unmark_what_is_real();
CREATE TRIGGER real_when_worse BEFORE UPDATE ON alarm FOR EACH ROW
    WHEN (NEW.drill AND NEW.tier > OLD.tier) EXECUTE FUNCTION unmark_what_is_real();
CREATE FUNCTION refuse_late_drill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'alarm %: an alarm is of a drill when it is raised, or never', OLD.alarm_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'drill_is_marked_at_raise';
END $$;
CREATE TRIGGER drill_is_marked_at_raise BEFORE UPDATE ON alarm FOR EACH ROW
    WHEN (NEW.drill_id IS DISTINCT FROM OLD.drill_id) EXECUTE FUNCTION refuse_late_drill();

ALTER TABLE drill ENABLE ROW LEVEL SECURITY;
ALTER TABLE drill_point ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON drill TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON drill_point TO hazardloop_api
    USING (EXISTS (SELECT FROM drill WHERE drill.drill_id = drill_point.drill_id));
GRANT SELECT ON drill, drill_point TO hazardloop_api;
-- When it was announced is the database's to say.
GRANT INSERT (enterprise_id, kind, title, tier, starts_at, ends_at, announced_by) ON drill TO hazardloop_api;
GRANT INSERT ON drill_point TO hazardloop_api;
GRANT UPDATE (cancelled_at, cancelled_by) ON drill TO hazardloop_api;
