-- Rules that people change: drafted by one, approved by another, in force from a time, every version kept.

ALTER TABLE rule_version
    ADD COLUMN body           jsonb,          -- as it was written; null = made before this was kept
    ADD COLUMN origin         text NOT NULL DEFAULT 'file' CONSTRAINT rule_origin_known CHECK (origin IN ('file', 'api')),
    ADD COLUMN retired        boolean NOT NULL DEFAULT false,   -- from then on the rule is none
    ADD COLUMN effective_from timestamptz DEFAULT now(),        -- null = a file that contradicts what people decided
    ADD COLUMN draft_id       bigint UNIQUE,
    ADD CONSTRAINT only_files_are_held_back CHECK (origin = 'file' OR effective_from IS NOT NULL),
    ADD CONSTRAINT people_change_rules_by_drafts CHECK ((origin = 'api') = (draft_id IS NOT NULL));
ALTER TABLE rule_version DISABLE TRIGGER append_only;
UPDATE rule_version SET effective_from = created_at;
ALTER TABLE rule_version ENABLE TRIGGER append_only;

CREATE TABLE rule_draft (
    draft_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id        text NOT NULL,
    base_version   int NOT NULL,              -- the newest when it was drafted; 0 = there was none
    retires        boolean NOT NULL DEFAULT false,
    body           jsonb NOT NULL,            -- of one that retires: what it was last
    definition     jsonb NOT NULL,
    effective_from timestamptz,               -- null = from its approval on
    reason         text NOT NULL CONSTRAINT draft_has_a_reason CHECK (btrim(reason) <> ''),
    reach          int NOT NULL,              -- points that it selected then
    warnings       jsonb NOT NULL DEFAULT '[]',
    drafted_at     timestamptz NOT NULL,
    drafted_by     text NOT NULL,
    drafted_role   text NOT NULL,
    decision       text CONSTRAINT draft_decision_known CHECK (decision IN ('approved', 'declined', 'withdrawn', 'replaced')),
    decided_at     timestamptz,
    decided_by     text,
    decided_role   text,
    decision_note  text,
    version        int,                       -- that it became
    CONSTRAINT draft_is_decided_whole CHECK (num_nulls(decision, decided_at, decided_by, decided_role) IN (0, 4)),
    CONSTRAINT draft_approved_by_another CHECK (decision NOT IN ('approved', 'declined') OR decided_by <> drafted_by),
    CONSTRAINT draft_withdrawn_by_its_author CHECK (decision NOT IN ('withdrawn', 'replaced') OR decided_by = drafted_by),
    CONSTRAINT approved_draft_has_its_version CHECK ((decision IS NOT DISTINCT FROM 'approved') = (version IS NOT NULL))
);
CREATE UNIQUE INDEX rule_draft_one_open ON rule_draft (rule_id) WHERE decision IS NULL;
CREATE INDEX rule_draft_of ON rule_draft (rule_id, draft_id);
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON rule_draft FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rule_version ADD FOREIGN KEY (draft_id) REFERENCES rule_draft;

CREATE FUNCTION refuse_rewritten_draft() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'draft % of rule %: what was drafted and decided is not rewritten', OLD.draft_id, OLD.rule_id
          USING ERRCODE = 'check_violation', CONSTRAINT = 'draft_stays';
END $$;
CREATE TRIGGER draft_stays BEFORE UPDATE ON rule_draft FOR EACH ROW
    WHEN (OLD.decision IS NOT NULL
          OR to_jsonb(OLD) - '{decision,decided_at,decided_by,decided_role,decision_note,version}'::text[]
             IS DISTINCT FROM to_jsonb(NEW) - '{decision,decided_at,decided_by,decided_role,decision_note,version}'::text[])
    EXECUTE FUNCTION refuse_rewritten_draft();

-- What comes from people is just what one drafted and another approved.
CREATE FUNCTION refuse_unapproved_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'hazardloop_api' AND NEW.origin <> 'api'
       OR NEW.origin = 'api' AND NOT EXISTS (
            SELECT FROM rule_draft d WHERE d.draft_id = NEW.draft_id AND d.decision = 'approved'
               AND (d.rule_id, d.version, d.definition, d.body, d.retires)
                   = (NEW.rule_id, NEW.version, NEW.definition, NEW.body, NEW.retired)
               AND NEW.effective_from = greatest(d.effective_from, d.decided_at)) THEN
        RAISE EXCEPTION 'rule % version %: no approved draft says so', NEW.rule_id, NEW.version
              USING ERRCODE = 'check_violation', CONSTRAINT = 'rule_needs_an_approved_draft';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rule_needs_an_approved_draft BEFORE INSERT ON rule_version FOR EACH ROW EXECUTE FUNCTION refuse_unapproved_rule();

ALTER TABLE rule_draft ENABLE ROW LEVEL SECURITY;
CREATE POLICY the_centre_drafts ON rule_draft TO hazardloop_api
    USING (current_setting('hazardloop.scope', true) = '*')
    WITH CHECK (current_setting('hazardloop.scope', true) = '*');
CREATE POLICY authors_are_who_they_are ON rule_draft AS RESTRICTIVE FOR INSERT TO hazardloop_api
    WITH CHECK (drafted_by = current_setting('hazardloop.actor', true) AND decision IS NULL);
CREATE POLICY approvers_are_who_they_are ON rule_draft AS RESTRICTIVE FOR UPDATE TO hazardloop_api
    USING (true) WITH CHECK (decided_by = current_setting('hazardloop.actor', true));
GRANT SELECT, INSERT ON rule_draft TO hazardloop_api;
GRANT UPDATE (decision, decided_at, decided_by, decided_role, decision_note, version) ON rule_draft TO hazardloop_api;
GRANT INSERT ON rule_version TO hazardloop_api;

CREATE TRIGGER ledger_made AFTER INSERT ON rule_draft REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION write_row('rule_draft', 'draft_id', '{}', '{}');
CREATE TRIGGER ledger_changed AFTER UPDATE ON rule_draft REFERENCING OLD TABLE AS before NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION write_row('rule_draft', 'draft_id', '{}', '{}');

-- The newest version of each rule whose time has come; of two the later one counts.
CREATE FUNCTION rules_in_force(at timestamptz) RETURNS SETOF rule_version LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (rule_id) * FROM rule_version WHERE effective_from <= at ORDER BY rule_id, version DESC
$$;

-- As alarms/rule_watches.py reads a tag.
CREATE FUNCTION tag_meets(tags jsonb, tag text, test jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT tags ? tag AND (test = 'true'::jsonb OR test ? CASE jsonb_typeof(tags -> tag)
        WHEN 'boolean' THEN initcap(tags ->> tag) WHEN 'null' THEN 'None' ELSE tags ->> tag END)
$$;

-- The points that a rule selects, of those that may be seen; the code of its unit is a tag of a device (devices/store.py).
CREATE FUNCTION rule_points(definition jsonb) RETURNS TABLE (point_id int) LANGUAGE sql STABLE AS $$
    SELECT p.point_id
      FROM point p JOIN device d USING (device_id) JOIN enterprise e ON e.enterprise_id = p.enterprise_id
           LEFT JOIN hazard_unit u ON u.hazard_unit_id = d.hazard_unit_id
           CROSS JOIN LATERAL (SELECT CASE WHEN u.code IS NULL THEN d.tags
                                           ELSE d.tags || jsonb_build_object('hazard_unit', u.code) END AS tags) AS said
     WHERE d.kind = definition ->> 'device_kind' AND p.quantity = definition ->> 'quantity'
       AND (NOT definition -> 'select' ? 'grades' OR definition -> 'select' -> 'grades' @> to_jsonb(coalesce(u.grade, 0)))
       AND (NOT definition -> 'select' ? 'enterprises' OR definition -> 'select' -> 'enterprises' ? e.code)
       AND NOT EXISTS (SELECT FROM jsonb_each(definition -> 'select' -> 'tags') AS t WHERE NOT tag_meets(said.tags, t.key, t.value))
       AND NOT EXISTS (SELECT FROM jsonb_each(definition -> 'select' -> 'except_tags') AS t WHERE tag_meets(said.tags, t.key, t.value))
$$;
