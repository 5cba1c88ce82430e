-- Clocks: jobs that outlive every process, steps of escalation, working days, shifts.

-- The queue's own tables stand in the schema `procrastinate`. Who plans a job does it in the
-- transaction that makes it necessary, through these two, whatever role the transaction has.
CREATE FUNCTION defer_jobs(tasks text[], arguments jsonb[], due timestamptz[]) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = procrastinate, pg_temp AS $$
    SELECT procrastinate_defer_jobs_v1(array_agg(
               ROW('default', task, 0, NULL, NULL, argument, at)::procrastinate_job_to_defer_v1 ORDER BY nth))
      FROM unnest(tasks, arguments, due) WITH ORDINALITY AS wanted (task, argument, at, nth)
$$;
CREATE FUNCTION cancel_jobs(job_ids bigint[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = procrastinate, pg_temp AS $$
    SELECT count(procrastinate_cancel_job_v1(job_id, false, true)) FROM unnest(job_ids) AS job_id
$$;
REVOKE EXECUTE ON FUNCTION defer_jobs, cancel_jobs FROM PUBLIC;
GRANT EXECUTE ON FUNCTION defer_jobs, cancel_jobs TO hazardloop_api;

-- The queue looks for what is due in the order of priority; with a hundred thousand clocks that
-- are not due yet it needs another way in.
CREATE INDEX IF NOT EXISTS procrastinate_jobs_due ON procrastinate.procrastinate_jobs (scheduled_at) WHERE status = 'todo';

-- One level of a ladder that a duty climbs while nobody does it. It is planned, and cancelled, in the
-- transaction that makes it so; it ends once: fired, or cancelled.
CREATE TABLE escalation (
    escalation_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id               uuid NOT NULL REFERENCES disposal_case,
    enterprise_id         int NOT NULL,                -- of the case, whose it stays for good
    duty                  text NOT NULL CONSTRAINT escalation_duty_known CHECK (duty IN ('sign', 'verify', 'submit', 'review')),
    party                 text NOT NULL CONSTRAINT escalation_party_known CHECK (party IN ('enterprise', 'authority')),
    owed_by               text NOT NULL,               -- post that owes the duty
    tier                  smallint NOT NULL CHECK (tier BETWEEN 1 AND 4),
    duty_due_at           timestamptz NOT NULL,        -- of the duty; the level follows from it
    level                 smallint NOT NULL CHECK (level BETWEEN 1 AND 4),
    post                  text NOT NULL,               -- who is told
    due_at                timestamptz NOT NULL,
    planned_at            timestamptz NOT NULL,
    planned_by_revision   int NOT NULL,
    job                   bigint,                      -- that will look for it; none yet while a lower level is due first
    fired_at              timestamptz,
    late_by               interval GENERATED ALWAYS AS (fired_at - due_at) STORED,
    receipt               bigint[],                    -- the notices it queued
    cancelled_at          timestamptz,
    cancelled_by_revision int,
    CONSTRAINT escalation_ends_once CHECK (fired_at IS NULL OR cancelled_at IS NULL),
    CONSTRAINT escalation_never_early CHECK (fired_at >= due_at),
    CONSTRAINT escalation_cancelled_by_a_step CHECK ((cancelled_at IS NULL) = (cancelled_by_revision IS NULL)),
    UNIQUE (case_id, planned_by_revision, party, owed_by, tier, level)
);
CREATE INDEX escalation_due ON escalation (due_at) WHERE fired_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX escalation_job ON escalation (job) WHERE job IS NOT NULL AND fired_at IS NULL AND cancelled_at IS NULL;
CREATE FUNCTION refuse_rewritten_escalation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'case %: escalation % was planned as it is and ends once', OLD.case_id, OLD.escalation_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'escalation_stays';
END $$;
CREATE TRIGGER escalation_stays BEFORE UPDATE ON escalation FOR EACH ROW
    WHEN (OLD.fired_at IS NOT NULL OR OLD.cancelled_at IS NOT NULL
          OR (NEW.case_id, NEW.duty, NEW.party, NEW.owed_by, NEW.tier, NEW.duty_due_at, NEW.level, NEW.post, NEW.due_at,
              NEW.planned_at, NEW.planned_by_revision)
             IS DISTINCT FROM
             (OLD.case_id, OLD.duty, OLD.party, OLD.owed_by, OLD.tier, OLD.duty_due_at, OLD.level, OLD.post, OLD.due_at,
              OLD.planned_at, OLD.planned_by_revision))
    EXECUTE FUNCTION refuse_rewritten_escalation();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON escalation FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Waits that a district set itself; where there is none, the project's apply (alarms/escalation.py).
CREATE TABLE escalation_wait (
    duty   text NOT NULL CHECK (duty IN ('sign', 'verify', 'submit', 'review')),
    tier   smallint NOT NULL CHECK (tier BETWEEN 1 AND 4),
    wait   interval NOT NULL CONSTRAINT escalation_wait_in_bounds CHECK (wait BETWEEN '1 minute' AND '30 days'),
    set_by text NOT NULL,
    set_at timestamptz NOT NULL,
    PRIMARY KEY (duty, tier)
);

ALTER TABLE escalation ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON escalation TO hazardloop_api USING (may_see(enterprise_id));
GRANT SELECT, INSERT (case_id, enterprise_id, duty, party, owed_by, tier, duty_due_at, level, post, due_at, planned_at,
                      planned_by_revision, job),
      UPDATE (cancelled_at, cancelled_by_revision) ON escalation TO hazardloop_api;
GRANT SELECT, INSERT, UPDATE ON escalation_wait TO hazardloop_api;

-- Days on which work does not go by the day of the week. What stands here overrides what the program knows.
CREATE TABLE calendar_day (
    day    date PRIMARY KEY,
    kind   text NOT NULL CONSTRAINT calendar_day_kind_known CHECK (kind IN ('holiday', 'workday')),
    name   text NOT NULL DEFAULT '',
    set_by text NOT NULL,
    set_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON calendar_day TO hazardloop_api;

-- A watch of the centre, who stands it, and the sheet on which it is handed over.
CREATE TABLE shift (
    shift_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL DEFAULT '',
    starts_at    timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    notes        text NOT NULL DEFAULT '',
    snapshot     jsonb,                     -- what stood open, frozen as the outgoing operator signs
    submitted_by text,
    submitted_at timestamptz,
    accepted_by  text,
    accepted_at  timestamptz,
    CONSTRAINT shift_has_a_length CHECK (ends_at > starts_at AND ends_at <= starts_at + interval '24 hours'),
    CONSTRAINT shifts_follow_each_other EXCLUDE USING gist (tstzrange(starts_at, ends_at) WITH &&),
    CONSTRAINT submitted_by_someone CHECK ((submitted_at IS NULL) = (submitted_by IS NULL) AND (submitted_at IS NULL) = (snapshot IS NULL)),
    CONSTRAINT accepted_by_someone CHECK ((accepted_at IS NULL) = (accepted_by IS NULL)),
    CONSTRAINT accepted_after_submitted CHECK (accepted_at IS NULL OR (submitted_at IS NOT NULL AND accepted_at >= submitted_at)),
    CONSTRAINT accepted_by_another CHECK (accepted_by <> submitted_by)
);
CREATE TABLE roster (
    shift_id int NOT NULL REFERENCES shift,
    post     text NOT NULL CONSTRAINT roster_post_known CHECK (post IN ('operator', 'duty_supervisor')),
    user_id  int NOT NULL REFERENCES user_account,
    PRIMARY KEY (shift_id, post, user_id)
);
CREATE UNIQUE INDEX roster_one_supervisor ON roster (shift_id) WHERE post = 'duty_supervisor';
CREATE FUNCTION refuse_rewritten_handover() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'shift %: a signed sheet is not rewritten', OLD.shift_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'handover_stays';
END $$;
CREATE TRIGGER handover_stays BEFORE UPDATE ON shift FOR EACH ROW
    WHEN (OLD.accepted_at IS NOT NULL
          OR (OLD.submitted_at IS NOT NULL
              AND to_jsonb(OLD) - '{accepted_by,accepted_at}'::text[] IS DISTINCT FROM to_jsonb(NEW) - '{accepted_by,accepted_at}'::text[])
          OR (NEW.shift_id, NEW.starts_at, NEW.ends_at, NEW.created_by) IS DISTINCT FROM (OLD.shift_id, OLD.starts_at, OLD.ends_at, OLD.created_by))
    EXECUTE FUNCTION refuse_rewritten_handover();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON shift FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON roster FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The log of the watch: written once.
CREATE TABLE duty_log (
    log_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shift_id   int REFERENCES shift,
    category   text NOT NULL CONSTRAINT duty_log_category_form CHECK (category ~ '^[a-z_]{1,40}$'),
    body       text NOT NULL CONSTRAINT duty_log_says_something CHECK (btrim(body) <> ''),
    alarm_id   uuid REFERENCES alarm,
    written_by text NOT NULL,
    written_at timestamptz NOT NULL
);
CREATE INDEX duty_log_shift ON duty_log (shift_id, log_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON duty_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The centre's own: no enterprise sees who stands its watches, or what stood open at another enterprise.
ALTER TABLE shift ENABLE ROW LEVEL SECURITY;
ALTER TABLE roster ENABLE ROW LEVEL SECURITY;
ALTER TABLE duty_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY the_centre ON shift TO hazardloop_api USING (current_setting('hazardloop.scope', true) = '*');
CREATE POLICY the_centre ON roster TO hazardloop_api USING (current_setting('hazardloop.scope', true) = '*');
CREATE POLICY the_centre ON duty_log TO hazardloop_api USING (current_setting('hazardloop.scope', true) = '*');
GRANT SELECT, INSERT ON shift, roster, duty_log TO hazardloop_api;
GRANT UPDATE (notes, snapshot, submitted_by, submitted_at, accepted_by, accepted_at) ON shift TO hazardloop_api;
