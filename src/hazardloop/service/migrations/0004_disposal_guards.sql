-- What alarms/lifecycle.py promises, promised again where no program gets around it.

-- A request may change of an alarm and its case only what a person's step changes.
REVOKE UPDATE ON alarm, disposal_case, assignment FROM hazardloop_api;
GRANT UPDATE (version, acknowledged_at, acknowledged_by, acknowledge_note) ON alarm TO hazardloop_api;
GRANT UPDATE (stage, revision, stage_at, stage_due_at, verdict, cause, measures, responsible, funds, deadline,
              plan, handlers, submitted_by, closed_by, closed_at, reopened, returned, bypass_permit)
   ON disposal_case TO hazardloop_api;
GRANT UPDATE (signed_at, signed_by) ON assignment TO hazardloop_api;

-- It speaks for people, never for the signal or the service, and only of the revision just made.
CREATE POLICY people_acknowledge_only ON alarm_change AS RESTRICTIVE FOR INSERT TO hazardloop_api
    WITH CHECK (change = 'acknowledged' AND actor IS NOT NULL);
CREATE POLICY people_speak_of_now ON ledger AS RESTRICTIVE FOR INSERT TO hazardloop_api
    WITH CHECK (actor <> 'system' AND actor_role <> 'system' AND action NOT IN ('raise', 'dispatch', 'tighten')
                AND (revision, alarm_id) = (SELECT disposal_case.revision, disposal_case.alarm_id FROM disposal_case
                                             WHERE disposal_case.case_id = ledger.case_id));

-- One line per revision: nothing happens to a case twice, nothing unwritten.
CREATE UNIQUE INDEX ledger_one_line_per_revision ON ledger (case_id, revision);

CREATE FUNCTION refuse_unwritten_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ledger WHERE case_id = NEW.case_id AND revision = NEW.revision) THEN
        RAISE EXCEPTION 'case %: revision % has no line in the ledger', NEW.case_id, NEW.revision
              USING ERRCODE = 'check_violation', CONSTRAINT = 'every_revision_is_written';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER every_revision_is_written AFTER UPDATE ON disposal_case
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unwritten_step();

-- The facts of an alarm are frozen when it is raised: the denominator of every rate stands on them.
CREATE FUNCTION refuse_rewritten_alarm() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'alarm %: what it was raised as does not change, its tier does not fall, its clearing stays',
          OLD.alarm_id USING ERRCODE = 'check_violation', CONSTRAINT = 'alarm_facts_stay';
END $$;
CREATE TRIGGER alarm_facts_stay BEFORE UPDATE ON alarm FOR EACH ROW
    WHEN (NEW.tier < OLD.tier OR NEW.version < OLD.version
          OR (OLD.cleared_at IS NOT NULL AND NEW.cleared_at IS DISTINCT FROM OLD.cleared_at)
          OR (NEW.alarm_id, NEW.enterprise_id, NEW.device_id, NEW.point_id, NEW.rule_id, NEW.rule_version,
              NEW.raised_at, NEW.recorded_at, NEW.drill, NEW.found_late)
             IS DISTINCT FROM
             (OLD.alarm_id, OLD.enterprise_id, OLD.device_id, OLD.point_id, OLD.rule_id, OLD.rule_version,
              OLD.raised_at, OLD.recorded_at, OLD.drill, OLD.found_late))
    EXECUTE FUNCTION refuse_rewritten_alarm();

-- A signature is given once, a charge is not handed on silently, its clock only gets shorter.
CREATE FUNCTION refuse_rewritten_assignment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'case %: the % was charged and signs once; neither is rewritten', OLD.case_id, OLD.party
          USING ERRCODE = 'check_violation', CONSTRAINT = 'assignment_stays';
END $$;
CREATE TRIGGER assignment_stays BEFORE UPDATE ON assignment FOR EACH ROW
    WHEN (OLD.signed_at IS NOT NULL AND (NEW.signed_at, NEW.signed_by) IS DISTINCT FROM (OLD.signed_at, OLD.signed_by)
          OR NEW.sign_due_at > OLD.sign_due_at
          OR (NEW.case_id, NEW.party, NEW.assigned_to, NEW.dispatched_at)
             IS DISTINCT FROM (OLD.case_id, OLD.party, OLD.assigned_to, OLD.dispatched_at))
    EXECUTE FUNCTION refuse_rewritten_assignment();

-- Why a case may not become what an UPDATE wants; null if it may.
CREATE FUNCTION step_refusal(was disposal_case, is_now disposal_case) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    of_alarm alarm;
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
    IF is_now.stage = was.stage THEN
        RETURN CASE WHEN is_now.stage = 'closed' AND (is_now.verdict, is_now.cause, is_now.measures, is_now.closed_by, is_now.closed_at)
                         IS DISTINCT FROM (was.verdict, was.cause, was.measures, was.closed_by, was.closed_at)
                    THEN 'a closed case keeps its findings until it is reopened' END;
    END IF;
    SELECT * INTO of_alarm FROM alarm WHERE alarm_id = is_now.alarm_id;
    CASE was.stage || ' to ' || is_now.stage
        WHEN 'raised to dispatched' THEN
            RETURN NULL;
        WHEN 'dispatched to signed' THEN
            IF (SELECT count(*) FROM assignment WHERE case_id = is_now.case_id AND signed_at IS NOT NULL) < 2 THEN
                RETURN 'both sides must have signed';
            END IF;
        WHEN 'signed to verified' THEN
            IF is_now.verdict IS NULL THEN
                RETURN 'there is no verdict';
            END IF;
        WHEN 'verified to handling' THEN
            IF cardinality(is_now.handlers) = 0 THEN
                RETURN 'nobody took it in hand';
            END IF;
        WHEN 'handling to submitted' THEN
            IF is_now.cause IS NULL OR is_now.measures IS NULL THEN
                RETURN 'cause and measures are missing';
            ELSIF is_now.submitted_by IS NULL OR NOT is_now.submitted_by = ANY (is_now.handlers) THEN
                RETURN 'who submitted it is not among its handlers';
            ELSIF of_alarm.tier >= 3 AND NOT EXISTS (SELECT FROM evidence WHERE case_id = is_now.case_id) THEN
                RETURN 'red and orange need evidence';
            ELSIF of_alarm.tier = 4 AND (is_now.responsible IS NULL OR is_now.funds IS NULL
                                         OR is_now.deadline IS NULL OR is_now.plan IS NULL) THEN
                RETURN 'red needs responsible, measures, funds, deadline and plan';
            END IF;
        WHEN 'submitted to handling' THEN
            IF is_now.returned <> was.returned + 1 THEN
                RETURN 'a return is counted';
            END IF;
        WHEN 'submitted to closed' THEN
            IF is_now.closed_by IS NULL OR is_now.closed_by = ANY (is_now.handlers) THEN
                RETURN 'it is closed by somebody who did not handle it';
            ELSIF of_alarm.cleared_at IS NULL AND is_now.bypass_permit IS NULL THEN
                RETURN 'its signal is active and there is no bypass permit';
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

CREATE FUNCTION refuse_wrong_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    reason text := step_refusal(OLD, NEW);
BEGIN
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION 'case %: %', OLD.case_id, reason
              USING ERRCODE = 'check_violation', CONSTRAINT = 'steps_in_order';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER steps_in_order BEFORE UPDATE ON disposal_case FOR EACH ROW EXECUTE FUNCTION refuse_wrong_step();
