-- Readings to alarms, alarms to closed cases.

CREATE TABLE rule_version (
    rule_id    text NOT NULL,
    version    int NOT NULL CHECK (version >= 1),
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (rule_id, version)
);

-- What the rule engine remembers of one limit at one point; a row only where it differs from rest.
CREATE TABLE limit_memory (
    rule_id   text NOT NULL,
    point_id  int NOT NULL REFERENCES point,
    tier      smallint NOT NULL CHECK (tier BETWEEN 1 AND 4),
    holds     boolean NOT NULL,
    since     timestamptz,               -- when the opposite of `holds` began, if it has
    PRIMARY KEY (rule_id, point_id, tier)
);

CREATE TABLE alarm (
    alarm_id        uuid PRIMARY KEY,
    enterprise_id   int NOT NULL REFERENCES enterprise,
    device_id       int NOT NULL REFERENCES device,
    point_id        int NOT NULL REFERENCES point,
    rule_id         text NOT NULL,
    rule_version    int NOT NULL,
    tier            smallint NOT NULL CHECK (tier BETWEEN 1 AND 4),      -- worst reached; never falls
    tier_now        smallint NOT NULL CHECK (tier_now BETWEEN 0 AND 4),
    value           double precision NOT NULL,                           -- that raised it, or raised its tier
    limit_value     double precision NOT NULL,
    direction       text NOT NULL CHECK (direction IN ('high', 'low', 'state', 'stale')),
    raised_at       timestamptz NOT NULL,                                -- data time
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    cleared_at      timestamptz,                                         -- data time
    acknowledged_at timestamptz,
    acknowledged_by text,
    acknowledge_note text,
    found_late      boolean NOT NULL DEFAULT false,
    drill           boolean NOT NULL DEFAULT false,
    version         int NOT NULL DEFAULT 1,                              -- counts changes of the alarm and of its case
    FOREIGN KEY (rule_id, rule_version) REFERENCES rule_version (rule_id, version),
    CONSTRAINT cleared_means_tier_zero CHECK ((cleared_at IS NULL) = (tier_now > 0)),
    CONSTRAINT acknowledged_by_someone CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
CREATE UNIQUE INDEX alarm_one_open ON alarm (rule_id, point_id) WHERE cleared_at IS NULL;
CREATE INDEX alarm_raised ON alarm (raised_at DESC, alarm_id);
CREATE INDEX alarm_point ON alarm (point_id, raised_at DESC);

-- Each change of an alarm's signal, in order: raised, tier, cleared, acknowledged.
CREATE TABLE alarm_change (
    alarm_id    uuid NOT NULL REFERENCES alarm,
    version     int NOT NULL,
    change      text NOT NULL CHECK (change IN ('raised', 'tier', 'cleared', 'acknowledged')),
    tier        smallint NOT NULL,
    value       double precision,
    limit_value double precision,
    changed_at  timestamptz NOT NULL,          -- data time; of an acknowledgement, when it was given
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor       text,
    note        text,
    PRIMARY KEY (alarm_id, version)
);

CREATE TABLE disposal_case (
    case_id       uuid PRIMARY KEY,
    alarm_id      uuid NOT NULL UNIQUE REFERENCES alarm,
    enterprise_id int NOT NULL REFERENCES enterprise,
    stage         text NOT NULL CONSTRAINT stage_known CHECK (stage IN
                      ('raised', 'dispatched', 'signed', 'verified', 'handling', 'submitted', 'closed')),
    revision      int NOT NULL CHECK (revision >= 1),
    opened_at     timestamptz NOT NULL,
    stage_at      timestamptz NOT NULL,
    stage_due_at  timestamptz,
    verdict       text CONSTRAINT verdict_known CHECK (verdict IN ('real', 'false_alarm', 'test', 'maintenance', 'unknown')),
    cause         text,
    measures      text,
    responsible   text,
    funds         text,
    deadline      date,
    plan          text,
    handlers      text[] NOT NULL DEFAULT '{}',       -- user names that handled or submitted
    submitted_by  text,
    closed_by     text,
    closed_at     timestamptz,
    reopened      int NOT NULL DEFAULT 0,
    returned      int NOT NULL DEFAULT 0,
    bypass_permit jsonb,                              -- {granted_by, granted_at, reason}
    CONSTRAINT closed_has_a_verdict CHECK (stage <> 'closed' OR verdict IS NOT NULL),
    CONSTRAINT closed_has_cause_and_measures CHECK (stage <> 'closed' OR (cause IS NOT NULL AND measures IS NOT NULL)),
    CONSTRAINT closed_by_another CHECK (stage <> 'closed' OR (closed_by IS NOT NULL AND closed_at IS NOT NULL
                                        AND NOT closed_by = ANY (handlers)))
);
CREATE INDEX disposal_case_open ON disposal_case (stage, stage_due_at) WHERE stage <> 'closed';

-- Double dispatch (双重交办): one row to the enterprise, one to the territorial authority.
CREATE TABLE assignment (
    case_id       uuid NOT NULL REFERENCES disposal_case,
    party         text NOT NULL CHECK (party IN ('enterprise', 'authority')),
    assigned_to   text NOT NULL,
    dispatched_at timestamptz NOT NULL,
    sign_due_at   timestamptz NOT NULL,
    signed_at     timestamptz,
    signed_by     text,
    PRIMARY KEY (case_id, party),
    CONSTRAINT signed_by_someone CHECK ((signed_at IS NULL) = (signed_by IS NULL))
);

CREATE TABLE evidence (
    evidence_id uuid PRIMARY KEY,
    case_id     uuid NOT NULL REFERENCES disposal_case,
    file_name   text NOT NULL,
    media_type  text NOT NULL,
    size_bytes  int NOT NULL CHECK (size_bytes > 0),
    sha256      bytea NOT NULL,
    uploaded_by text NOT NULL,
    uploaded_at timestamptz NOT NULL
);
CREATE INDEX evidence_case ON evidence (case_id);

-- Every human or automatic act on a case, append-only.
CREATE TABLE ledger (
    entry_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id    uuid NOT NULL REFERENCES disposal_case,
    alarm_id   uuid NOT NULL REFERENCES alarm,
    revision   int NOT NULL,
    action     text NOT NULL,
    actor      text NOT NULL,
    actor_role text NOT NULL,
    taken_at   timestamptz NOT NULL,
    note       text,
    body       jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ledger_case ON ledger (case_id, entry_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: it is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON alarm_change FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rule_version FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON evidence FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON alarm FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON disposal_case FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON assignment FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The live stream: one gap-free number per changed alarm, in commit order. Taking the counter's row
-- lock is what serialises writers, so take it last in a transaction.
CREATE TABLE live_counter (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    uuid NOT NULL DEFAULT gen_random_uuid(),
    seq      bigint NOT NULL
);
INSERT INTO live_counter (seq) VALUES (0);
CREATE TABLE live_change (
    seq        bigint PRIMARY KEY,
    alarm_id   uuid NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION note_live_changes(alarm_ids uuid[]) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    last bigint;
BEGIN
    UPDATE live_counter SET seq = seq + cardinality(alarm_ids) RETURNING seq INTO last;
    INSERT INTO live_change (seq, alarm_id)
         SELECT last - cardinality(alarm_ids) + nth, alarm_id FROM unnest(alarm_ids) WITH ORDINALITY AS t (alarm_id, nth);
    PERFORM pg_notify('hazardloop_live', last::text);
    RETURN last;
END $$;

-- Alarm changes to be told outward; removed once the broker has taken them.
CREATE TABLE outbox (
    alarm_id   uuid NOT NULL,
    version    int NOT NULL,
    topic      text NOT NULL,
    payload    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (alarm_id, version)
);

ALTER TABLE alarm ENABLE ROW LEVEL SECURITY;
ALTER TABLE alarm_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE disposal_case ENABLE ROW LEVEL SECURITY;
ALTER TABLE assignment ENABLE ROW LEVEL SECURITY;
ALTER TABLE evidence ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON alarm TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON alarm_change TO hazardloop_api
    USING (EXISTS (SELECT FROM alarm WHERE alarm.alarm_id = alarm_change.alarm_id));
CREATE POLICY own_enterprise ON disposal_case TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON assignment TO hazardloop_api
    USING (EXISTS (SELECT FROM disposal_case WHERE disposal_case.case_id = assignment.case_id));
CREATE POLICY own_enterprise ON evidence TO hazardloop_api
    USING (EXISTS (SELECT FROM disposal_case WHERE disposal_case.case_id = evidence.case_id));
CREATE POLICY own_enterprise ON ledger TO hazardloop_api
    USING (EXISTS (SELECT FROM disposal_case WHERE disposal_case.case_id = ledger.case_id));
GRANT SELECT ON rule_version, live_change, live_counter, alarm_change TO hazardloop_api;
GRANT INSERT ON alarm_change, outbox TO hazardloop_api;
GRANT SELECT, UPDATE ON alarm, disposal_case, assignment TO hazardloop_api;
GRANT SELECT, INSERT ON evidence, ledger TO hazardloop_api;
