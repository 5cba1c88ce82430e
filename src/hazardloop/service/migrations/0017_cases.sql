-- Who is charged with a case, response plans, cases handled together, and guards that look closer.

-- What a project may set about its cases; one row. The defaults are project decisions.
CREATE TABLE case_policy (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    rest          interval NOT NULL DEFAULT '5 minutes'     -- how long a signal is normal before its case may close; 0: at once
                  CONSTRAINT rest_within_a_day CHECK (rest BETWEEN '0' AND '1 day'),
    related_within interval NOT NULL DEFAULT '10 minutes'   -- alarms of one unit so near are proposed together
                  CONSTRAINT related_within_a_day CHECK (related_within BETWEEN '0' AND '1 day'),
    window_before interval NOT NULL DEFAULT '30 minutes'    -- readings kept with a case: before the raising and the clearing
                  CONSTRAINT window_before_within_a_day CHECK (window_before BETWEEN '0' AND '1 day'),
    window_after  interval NOT NULL DEFAULT '30 minutes'    -- and after them
                  CONSTRAINT window_after_within_a_day CHECK (window_after BETWEEN '0' AND '1 day')
);
INSERT INTO case_policy DEFAULT VALUES;
GRANT SELECT, UPDATE (rest, related_within, window_before, window_after) ON case_policy TO hazardloop_api;

-- A household or a street shop has no enterprise behind it: the village or community is charged.
ALTER TABLE enterprise ADD COLUMN site text NOT NULL DEFAULT 'enterprise'
      CONSTRAINT site_known CHECK (site IN ('enterprise', 'household', 'street_shop'));

-- Who is charged on one side. A rule is never rewritten: it ends, and another takes its place.
CREATE TABLE recipient_rule (
    recipient_rule_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    party         text NOT NULL CHECK (party IN ('enterprise', 'authority')),
    enterprise_id int REFERENCES enterprise,                       -- null: any
    device_kind   text NOT NULL DEFAULT '',                        -- '': any
    area_prefix   text NOT NULL DEFAULT '',                        -- of the enterprise's area
    min_tier      smallint NOT NULL DEFAULT 1 CHECK (min_tier BETWEEN 1 AND 4),
    charges       jsonb NOT NULL                                   -- [{post, organisation}]
                  CONSTRAINT somebody_is_charged CHECK (jsonb_typeof(charges) = 'array' AND jsonb_array_length(charges) BETWEEN 1 AND 4),
    made_at       timestamptz NOT NULL,
    made_by       text NOT NULL,
    ended_at      timestamptz,
    ended_by      text,
    CONSTRAINT ended_by_someone CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE FUNCTION refuse_rewritten_recipient_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'recipient rule %: it can be ended once, nothing else', OLD.recipient_rule_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'recipient_rule_stays';
END $$;
CREATE TRIGGER recipient_rule_stays BEFORE UPDATE ON recipient_rule FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL
          OR (to_jsonb(NEW) - ARRAY['ended_at', 'ended_by']) IS DISTINCT FROM (to_jsonb(OLD) - ARRAY['ended_at', 'ended_by']))
    EXECUTE FUNCTION refuse_rewritten_recipient_rule();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON recipient_rule FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE recipient_rule ENABLE ROW LEVEL SECURITY;
CREATE POLICY whole_district ON recipient_rule TO hazardloop_api USING (current_setting('hazardloop.scope', true) = '*');
GRANT SELECT, INSERT, UPDATE (ended_at, ended_by) ON recipient_rule TO hazardloop_api;

-- Who is charged with an alarm of that enterprise, kind of device and tier; `keeper` is the maintenance
-- unit that the device names. Of the rules that fit, the most specific decides for its side: one of the
-- enterprise before one of the kind before the longest area before the highest tier before the newest.
-- {enterprise}, {area} and {maintenance_unit} in a rule stand for what they name.
CREATE FUNCTION recipients_of(of_enterprise int, of_kind text, of_tier int, keeper text)
RETURNS TABLE (party text, post text, organisation text, recipient_rule_id int) LANGUAGE sql STABLE AS $$
    SELECT side.party, charge.post,
           replace(replace(replace(charge.organisation, '{maintenance_unit}', coalesce(nullif(keeper, ''), '维保单位（未登记）')),
                           '{area}', coalesce(nullif(e.area, ''), CASE side.party WHEN 'authority' THEN '属地监管部门' ELSE '属地社区（村）' END)),
                   '{enterprise}', e.name),
           chosen.recipient_rule_id
      FROM enterprise e CROSS JOIN (VALUES ('enterprise'), ('authority')) AS side (party)
           LEFT JOIN LATERAL (
               SELECT r.recipient_rule_id, r.charges FROM recipient_rule r
                WHERE r.party = side.party AND r.ended_at IS NULL AND r.min_tier <= of_tier
                  AND (r.enterprise_id IS NULL OR r.enterprise_id = e.enterprise_id)
                  AND r.device_kind IN ('', of_kind) AND starts_with(e.area, r.area_prefix)
                ORDER BY r.enterprise_id IS NULL, r.device_kind = '', length(r.area_prefix) DESC, r.min_tier DESC,
                         r.recipient_rule_id DESC
                LIMIT 1) AS chosen ON true
           CROSS JOIN LATERAL jsonb_to_recordset(coalesce(chosen.charges, CASE
               WHEN side.party = 'authority' THEN jsonb '[{"post": "assignee", "organisation": "{area}"}]'
               WHEN e.site <> 'enterprise' THEN jsonb '[{"post": "village", "organisation": "{area}"}]'
               WHEN keeper <> '' THEN jsonb '[{"post": "assignee", "organisation": "{enterprise}"},
                                              {"post": "maintenance_unit", "organisation": "{maintenance_unit}"}]'
               ELSE jsonb '[{"post": "assignee", "organisation": "{enterprise}"}]' END)) AS charge (post text, organisation text)
     WHERE e.enterprise_id = of_enterprise
$$;

-- A side may have several posts, each with a receipt and a clock of its own.
ALTER TABLE assignment ADD COLUMN post text NOT NULL DEFAULT 'assignee' CONSTRAINT post_form CHECK (post ~ '^[a-z][a-z_]{0,39}$'),
                       ADD COLUMN recipient_rule_id int REFERENCES recipient_rule;      -- null: the default decided
ALTER TABLE assignment DROP CONSTRAINT assignment_pkey, ADD PRIMARY KEY (case_id, party, post);
DROP TRIGGER assignment_stays ON assignment;
CREATE TRIGGER assignment_stays BEFORE UPDATE ON assignment FOR EACH ROW
    WHEN (OLD.signed_at IS NOT NULL AND (NEW.signed_at, NEW.signed_by) IS DISTINCT FROM (OLD.signed_at, OLD.signed_by)
          OR NEW.sign_due_at > OLD.sign_due_at
          OR (NEW.case_id, NEW.party, NEW.post, NEW.assigned_to, NEW.recipient_rule_id, NEW.dispatched_at)
             IS DISTINCT FROM (OLD.case_id, OLD.party, OLD.post, OLD.assigned_to, OLD.recipient_rule_id, OLD.dispatched_at))
    EXECUTE FUNCTION refuse_rewritten_assignment();

-- The readings around an alarm that are kept with its case for good: of every point of its device, around
-- the raising and the clearing, and again, with what came late, when the case closes.
CREATE TABLE case_window (
    case_id   uuid NOT NULL REFERENCES disposal_case,
    around    text NOT NULL CHECK (around IN ('raised', 'cleared', 'closed')),
    nth       smallint NOT NULL,                     -- 1: when it was complete; further ones at each close
    since     timestamptz NOT NULL,
    until     timestamptz NOT NULL,
    due_at    timestamptz NOT NULL,
    frozen_at timestamptz,
    readings  int,
    sha256    bytea,                                 -- of the content, point by point
    PRIMARY KEY (case_id, around, nth),
    CONSTRAINT frozen_means_known CHECK ((frozen_at IS NULL) = (sha256 IS NULL) AND (frozen_at IS NULL) = (readings IS NULL))
);
CREATE INDEX case_window_waiting ON case_window (due_at) WHERE frozen_at IS NULL;
CREATE TABLE case_reading (
    case_id        uuid NOT NULL,
    around         text NOT NULL,
    nth            smallint NOT NULL,
    point_id       int NOT NULL REFERENCES point,
    observed_at_us bigint[] NOT NULL,                -- us since 1970
    value          double precision[] NOT NULL,
    quality        smallint[] NOT NULL,
    PRIMARY KEY (case_id, around, nth, point_id),
    FOREIGN KEY (case_id, around, nth) REFERENCES case_window
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON case_reading FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON case_window FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER frozen_stays BEFORE UPDATE ON case_window FOR EACH ROW WHEN (OLD.frozen_at IS NOT NULL) EXECUTE FUNCTION refuse_change();
ALTER TABLE case_window ENABLE ROW LEVEL SECURITY;
ALTER TABLE case_reading ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON case_window TO hazardloop_api
    USING (EXISTS (SELECT FROM disposal_case WHERE disposal_case.case_id = case_window.case_id));
CREATE POLICY own_enterprise ON case_reading TO hazardloop_api
    USING (EXISTS (SELECT FROM disposal_case WHERE disposal_case.case_id = case_reading.case_id));
GRANT SELECT ON case_window, case_reading TO hazardloop_api;

-- Plans the windows of these alarms' cases around that event, where it has happened. Five minutes are
-- left for readings on their way.
CREATE FUNCTION plan_windows(alarm_ids uuid[], which text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO case_window (case_id, around, nth, since, until, due_at)
    SELECT case_id, which, 1, event - window_before, event + window_after, event + window_after + interval '5 minutes'
      FROM disposal_case JOIN alarm USING (alarm_id) CROSS JOIN case_policy
           CROSS JOIN LATERAL (VALUES (CASE which WHEN 'raised' THEN raised_at ELSE cleared_at END)) AS at (event)
     WHERE alarm.alarm_id = ANY (alarm_ids) AND event IS NOT NULL
        ON CONFLICT DO NOTHING
$$;
REVOKE ALL ON FUNCTION plan_windows FROM PUBLIC;
CREATE FUNCTION plan_cleared_window() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM plan_windows(ARRAY[NEW.alarm_id], 'cleared');
    RETURN NULL;
END $$;
CREATE TRIGGER cleared_window_planned AFTER UPDATE OF cleared_at ON alarm FOR EACH ROW
    WHEN (OLD.cleared_at IS NULL AND NEW.cleared_at IS NOT NULL) EXECUTE FUNCTION plan_cleared_window();
CREATE FUNCTION plan_closing_windows() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO case_window (case_id, around, nth, since, until, due_at)
    SELECT case_id, around, max(nth) + 1, min(since), min(until), NEW.closed_at FROM case_window
     WHERE case_id = NEW.case_id AND around <> 'closed' GROUP BY case_id, around HAVING bool_and(frozen_at IS NOT NULL);
    INSERT INTO case_window (case_id, around, nth, since, until, due_at)
    SELECT NEW.case_id, 'closed', coalesce((SELECT max(nth) FROM case_window w WHERE w.case_id = NEW.case_id AND around = 'closed'), 0) + 1,
           NEW.closed_at - window_before, NEW.closed_at, NEW.closed_at + interval '5 minutes'
      FROM case_policy;
    RETURN NULL;
END $$;
CREATE TRIGGER closing_windows_planned AFTER UPDATE OF stage ON disposal_case FOR EACH ROW
    WHEN (NEW.stage = 'closed' AND OLD.stage <> 'closed') EXECUTE FUNCTION plan_closing_windows();

-- Copies the readings of a window to its case; at most 100,000 of a point. What retention took since an
-- earlier copy is not lost by a later one: that is kept only where it has at least as many.
CREATE FUNCTION freeze_window(of_case uuid, which text, copy smallint, at timestamptz) RETURNS case_window LANGUAGE plpgsql AS $$
DECLARE
    frame case_window;
    earlier case_window;
    counted int;
    content bytea;
BEGIN
    SELECT * INTO STRICT frame FROM case_window WHERE case_id = of_case AND around = which AND nth = copy AND frozen_at IS NULL FOR UPDATE;
    SELECT * INTO earlier FROM case_window WHERE case_id = of_case AND around = which AND nth < copy ORDER BY nth DESC LIMIT 1;
    CREATE TEMPORARY TABLE IF NOT EXISTS freezing (LIKE case_reading) ON COMMIT DELETE ROWS;
    DELETE FROM freezing;
    INSERT INTO freezing
    SELECT of_case, which, copy, p.point_id, array_agg(us ORDER BY us), array_agg(r.value ORDER BY us), array_agg(r.quality ORDER BY us)
      FROM disposal_case c JOIN alarm a USING (alarm_id) JOIN point p ON p.device_id = a.device_id
           CROSS JOIN LATERAL (
               SELECT (extract(epoch FROM observed_at) * 1000000)::bigint AS us, value, quality FROM reading
                WHERE reading.point_id = p.point_id AND observed_at >= frame.since AND observed_at < frame.until
                ORDER BY observed_at LIMIT 100000) AS r
     WHERE c.case_id = of_case GROUP BY p.point_id;
    SELECT coalesce(sum(cardinality(f.value)), 0),
           sha256(convert_to(coalesce(string_agg(concat_ws(' ', point_id, f.observed_at_us::text, f.value::text, f.quality::text), E'\n' ORDER BY point_id), ''), 'UTF8'))
      INTO counted, content FROM freezing f;
    IF earlier.frozen_at IS NOT NULL AND (counted < earlier.readings OR content = earlier.sha256) THEN
        counted := earlier.readings;
        content := earlier.sha256;
    ELSE
        INSERT INTO case_reading SELECT * FROM freezing;
    END IF;
    UPDATE case_window SET frozen_at = at, readings = counted, sha256 = content
     WHERE case_id = of_case AND around = which AND nth = copy RETURNING * INTO frame;
    RETURN frame;
END $$;

-- Retention leaves what is still to be copied to a case.
CREATE OR REPLACE FUNCTION readings_are_held(first timestamptz, past timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM case_window WHERE frozen_at IS NULL AND since < past AND until > first)
$$;

-- The response plan of the rule, copied to the case when it opens, whoever opens it.
CREATE TABLE case_check (
    case_id   uuid NOT NULL REFERENCES disposal_case,
    item      text NOT NULL,
    position  smallint NOT NULL,
    text      jsonb NOT NULL,                        -- {zh, en}
    required  boolean NOT NULL,
    ticked_at timestamptz,
    ticked_by text,
    PRIMARY KEY (case_id, item),
    CONSTRAINT ticked_by_someone CHECK ((ticked_at IS NULL) = (ticked_by IS NULL))
);
CREATE FUNCTION prepare_cases() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM plan_windows(array_agg(alarm_id), 'raised'), plan_windows(array_agg(alarm_id), 'cleared') FROM opened;
    INSERT INTO case_check (case_id, item, position, text, required)
    SELECT opened.case_id, planned.item ->> 'item', planned.position, planned.item -> 'text', (planned.item ->> 'required')::boolean
      FROM opened JOIN alarm USING (alarm_id) JOIN rule_version USING (rule_id)
           CROSS JOIN LATERAL jsonb_array_elements(definition -> 'plan') WITH ORDINALITY AS planned (item, position)
     WHERE rule_version.version = alarm.rule_version;
    RETURN NULL;
END $$;
CREATE TRIGGER cases_prepared AFTER INSERT ON disposal_case REFERENCING NEW TABLE AS opened
    FOR EACH STATEMENT EXECUTE FUNCTION prepare_cases();
CREATE FUNCTION refuse_rewritten_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'case %: item % of its plan can only be ticked or unticked, while it is handled', OLD.case_id, OLD.item
          USING ERRCODE = 'check_violation', CONSTRAINT = 'case_check_stays';
END $$;
CREATE TRIGGER case_check_stays BEFORE UPDATE ON case_check FOR EACH ROW
    WHEN ((NEW.case_id, NEW.item, NEW.position, NEW.text, NEW.required)
          IS DISTINCT FROM (OLD.case_id, OLD.item, OLD.position, OLD.text, OLD.required)
          OR (NEW.ticked_at IS NOT NULL AND OLD.ticked_at IS NOT NULL))
    EXECUTE FUNCTION refuse_rewritten_check();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON case_check FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE case_check ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON case_check TO hazardloop_api
    USING (EXISTS (SELECT FROM disposal_case WHERE disposal_case.case_id = case_check.case_id));
GRANT SELECT, UPDATE (ticked_at, ticked_by) ON case_check TO hazardloop_api;

-- Cases handled together: a member names the case that leads it.
ALTER TABLE disposal_case ADD COLUMN lead_case_id uuid REFERENCES disposal_case
      CONSTRAINT no_case_leads_itself CHECK (lead_case_id <> case_id);
CREATE INDEX disposal_case_lead ON disposal_case (lead_case_id) WHERE lead_case_id IS NOT NULL;
GRANT UPDATE (lead_case_id) ON disposal_case TO hazardloop_api;

-- As in 0004, and: posts, blank text, the plan, a signal that rests, findings, leads and members.
CREATE OR REPLACE FUNCTION step_refusal(was disposal_case, is_now disposal_case) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    of_alarm alarm;
    lead disposal_case;
    same_findings boolean := (is_now.verdict, is_now.cause, is_now.measures, is_now.responsible, is_now.funds, is_now.deadline, is_now.plan, is_now.submitted_by)
                 IS NOT DISTINCT FROM (was.verdict, was.cause, was.measures, was.responsible, was.funds, was.deadline, was.plan, was.submitted_by);
    same_report boolean := (is_now.cause, is_now.measures, is_now.responsible, is_now.funds, is_now.deadline, is_now.plan, is_now.submitted_by)
               IS NOT DISTINCT FROM (was.cause, was.measures, was.responsible, was.funds, was.deadline, was.plan, was.submitted_by);
BEGIN
    IF (is_now.case_id, is_now.alarm_id, is_now.enterprise_id, is_now.opened_at)
       IS DISTINCT FROM (was.case_id, was.alarm_id, was.enterprise_id, was.opened_at) THEN
        RETURN 'it belongs to its alarm for good';
    END IF;
    IF is_now.revision <> was.revision + 1 THEN
        RETURN format('revision %s does not follow %s', is_now.revision, was.revision);
    END IF;
    IF NOT is_now.handlers @> was.handlers OR is_now.reopened < was.reopened OR is_now.returned < was.returned THEN
        RETURN 'handlers, reopenings and returns are never taken back';
    END IF;
    IF is_now.lead_case_id IS DISTINCT FROM was.lead_case_id THEN
        IF is_now.stage <> was.stage OR is_now.stage NOT IN ('dispatched', 'signed', 'verified', 'handling') THEN
            RETURN format('at %s it is neither put together with another case nor taken apart', was.stage);
        END IF;
        IF is_now.lead_case_id IS NOT NULL THEN
            SELECT * INTO lead FROM disposal_case WHERE case_id = is_now.lead_case_id;
            IF was.lead_case_id IS NOT NULL OR lead.lead_case_id IS NOT NULL
               OR EXISTS (SELECT FROM disposal_case m WHERE m.lead_case_id = is_now.case_id) THEN
                RETURN 'a lead is handled under no other case';
            ELSIF lead.enterprise_id <> is_now.enterprise_id THEN
                RETURN 'its lead is another enterprise''s';
            END IF;
        END IF;
    END IF;
    IF is_now.stage = was.stage THEN
        RETURN CASE WHEN is_now.stage = 'closed' AND (NOT same_findings OR (is_now.closed_by, is_now.closed_at)
                                                      IS DISTINCT FROM (was.closed_by, was.closed_at))
                    THEN 'a closed case keeps its findings until it is reopened'
                    WHEN NOT same_report AND is_now.stage <> 'submitted'
                      OR NOT same_findings AND is_now.stage NOT IN ('verified', 'handling', 'submitted')
                      OR is_now.submitted_by IS DISTINCT FROM was.submitted_by
                    THEN format('its findings do not change at %s', is_now.stage) END;
    END IF;
    SELECT * INTO of_alarm FROM alarm WHERE alarm_id = is_now.alarm_id;
    IF was.stage || ' to ' || is_now.stage NOT IN ('signed to verified', 'handling to submitted') AND NOT same_findings THEN
        RETURN format('its findings do not change on the way to %s', is_now.stage);
    END IF;
    CASE was.stage || ' to ' || is_now.stage
        WHEN 'raised to dispatched' THEN
            RETURN NULL;
        WHEN 'dispatched to signed' THEN
            IF EXISTS (SELECT FROM assignment WHERE case_id = is_now.case_id AND signed_at IS NULL)
               OR (SELECT count(DISTINCT party) FROM assignment WHERE case_id = is_now.case_id) < 2 THEN
                RETURN 'both sides must have signed';
            END IF;
        WHEN 'signed to verified' THEN
            IF is_now.verdict IS NULL THEN
                RETURN 'there is no verdict';
            ELSIF NOT same_report THEN
                RETURN 'its report does not change on the way to verified';
            END IF;
        WHEN 'verified to handling' THEN
            IF cardinality(is_now.handlers) = 0 THEN
                RETURN 'nobody took it in hand';
            END IF;
        WHEN 'handling to submitted' THEN
            IF is_now.verdict IS DISTINCT FROM was.verdict THEN
                RETURN 'its verdict does not change on the way to submitted';
            ELSIF coalesce(btrim(is_now.cause), '') = '' OR coalesce(btrim(is_now.measures), '') = '' THEN
                RETURN 'cause and measures are missing';
            ELSIF is_now.submitted_by IS NULL OR NOT is_now.submitted_by = ANY (is_now.handlers) THEN
                RETURN 'who submitted it is not among its handlers';
            ELSIF of_alarm.tier >= 3 AND NOT EXISTS (SELECT FROM evidence WHERE case_id IN (is_now.case_id, is_now.lead_case_id)) THEN
                RETURN 'red and orange need evidence';
            ELSIF of_alarm.tier = 4 AND (coalesce(btrim(is_now.responsible), '') = '' OR coalesce(btrim(is_now.funds), '') = ''
                                         OR is_now.deadline IS NULL OR coalesce(btrim(is_now.plan), '') = '') THEN
                RETURN 'red needs responsible, measures, funds, deadline and plan';
            ELSIF EXISTS (SELECT FROM case_check WHERE case_id = is_now.case_id AND required AND ticked_at IS NULL) THEN
                RETURN 'items of its response plan are not ticked';
            END IF;
        WHEN 'submitted to handling' THEN
            IF is_now.returned <> was.returned + 1 THEN
                RETURN 'a return is counted';
            END IF;
        WHEN 'submitted to closed' THEN
            IF is_now.closed_by IS NULL OR is_now.closed_by = ANY (is_now.handlers) THEN
                RETURN 'it is closed by somebody who did not handle it';
            ELSIF of_alarm.tier >= 3 AND NOT EXISTS (SELECT FROM evidence WHERE case_id IN (is_now.case_id, is_now.lead_case_id)) THEN
                RETURN 'red and orange need evidence, also those that rose after the report';
            ELSIF of_alarm.tier = 4 AND (coalesce(btrim(is_now.responsible), '') = '' OR coalesce(btrim(is_now.funds), '') = ''
                                         OR is_now.deadline IS NULL OR coalesce(btrim(is_now.plan), '') = '') THEN
                RETURN 'red needs responsible, measures, funds, deadline and plan, also where it rose after the report';
            ELSIF is_now.bypass_permit IS NOT NULL THEN
                RETURN NULL;
            ELSIF of_alarm.cleared_at IS NULL THEN
                RETURN 'its signal is active and there is no bypass permit';
            ELSIF of_alarm.cleared_at + (SELECT nullif(rest, '0') FROM case_policy) > is_now.closed_at THEN
                RETURN 'its signal has not been normal for long enough and there is no bypass permit';
            END IF;
        WHEN 'closed to handling' THEN
            IF is_now.reopened <> was.reopened + 1 THEN
                RETURN 'a reopening is counted';
            END IF;
        ELSE
            RETURN format('%s does not follow %s', is_now.stage, was.stage);
    END CASE;
    RETURN NULL;
END $$;

-- The line in the ledger tells of this very step, by somebody whose step it is, and in time where it had to be.
CREATE FUNCTION line_refusal(was disposal_case, is_now disposal_case, line ledger) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    moving CONSTANT text[] := '{dispatch,verify,handle,submit,return,close,reopen}';
    needed text := CASE was.stage || ' to ' || is_now.stage
                   WHEN 'raised to dispatched' THEN 'dispatch' WHEN 'dispatched to signed' THEN 'sign'
                   WHEN 'signed to verified' THEN 'verify' WHEN 'verified to handling' THEN 'handle'
                   WHEN 'handling to submitted' THEN 'submit' WHEN 'submitted to handling' THEN 'return'
                   WHEN 'submitted to closed' THEN 'close' WHEN 'closed to handling' THEN 'reopen' END;
BEGIN
    IF line.action <> needed OR (needed IS NULL AND line.action = ANY (moving)) THEN
        RETURN format('%s is not how it came from %s to %s', line.action, was.stage, is_now.stage);
    ELSIF line.action IN ('return', 'close', 'reopen') AND line.actor_role NOT IN ('authority', 'supervisor')
       OR line.action IN ('verify', 'handle', 'submit', 'tick', 'untick', 'amend') AND line.actor_role NOT IN ('enterprise', 'operator', 'supervisor')
       OR line.action = 'sign' AND line.actor_role NOT IN ('enterprise', 'authority')
       OR line.action IN ('merge', 'split') AND line.actor_role NOT IN ('operator', 'supervisor') THEN
        RETURN format('%s is not for %s', line.action, line.actor_role);
    ELSIF line.action = 'close' AND (line.actor, line.taken_at) IS DISTINCT FROM (is_now.closed_by, is_now.closed_at)
       OR line.action = 'submit' AND line.actor IS DISTINCT FROM is_now.submitted_by
       OR line.action = 'handle' AND NOT line.actor = ANY (is_now.handlers) THEN
        RETURN format('%s was by another than %s', line.action, line.actor);
    ELSIF is_now.stage = was.stage AND (is_now.verdict, is_now.cause, is_now.measures, is_now.responsible, is_now.funds, is_now.deadline, is_now.plan)
                       IS DISTINCT FROM (was.verdict, was.cause, was.measures, was.responsible, was.funds, was.deadline, was.plan)
          AND (line.action <> 'amend' OR line.taken_at > was.stage_due_at) THEN
        RETURN 'its findings change by amending only, and in time';
    ELSIF is_now.lead_case_id IS DISTINCT FROM was.lead_case_id
          AND line.action <> (CASE WHEN is_now.lead_case_id IS NULL THEN 'split' ELSE 'merge' END) THEN
        RETURN 'it is merged and split by steps of that name';
    END IF;
    RETURN NULL;
END $$;

-- At the end of the transaction: every revision has its line, and a group stands at one stage.
CREATE OR REPLACE FUNCTION refuse_unwritten_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    line ledger;
    reason text;
BEGIN
    SELECT * INTO line FROM ledger WHERE case_id = NEW.case_id AND revision = NEW.revision;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'case %: revision % has no line in the ledger', NEW.case_id, NEW.revision
              USING ERRCODE = 'check_violation', CONSTRAINT = 'every_revision_is_written';
    END IF;
    reason := line_refusal(OLD, NEW, line);
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION 'case %: %', NEW.case_id, reason
              USING ERRCODE = 'check_violation', CONSTRAINT = 'lines_tell_the_steps';
    END IF;
    IF EXISTS (SELECT FROM disposal_case m JOIN disposal_case l ON l.case_id = m.lead_case_id
                WHERE m.lead_case_id = coalesce(NEW.lead_case_id, NEW.case_id)
                  AND (m.stage <> l.stage OR l.lead_case_id IS NOT NULL)) THEN
        RAISE EXCEPTION 'case %: lead and members stand at one stage and are closed together', NEW.case_id
              USING ERRCODE = 'check_violation', CONSTRAINT = 'groups_move_together';
    END IF;
    RETURN NULL;
END $$;
