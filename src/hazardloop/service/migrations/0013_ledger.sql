-- The ledger holds every act, not only those on a case.

-- A line is about a case (with its alarm and revision) or about anything else, named by subject and id.
ALTER TABLE ledger
    ALTER case_id DROP NOT NULL,
    ALTER alarm_id DROP NOT NULL,
    ALTER revision DROP NOT NULL,
    ADD subject       text NOT NULL DEFAULT 'case',
    ADD subject_id    text,
    ADD enterprise_id int REFERENCES enterprise,
    ADD noted_at      timestamptz,
    ADD CONSTRAINT ledger_line_has_its_subject CHECK (
        CASE subject WHEN 'case' THEN case_id IS NOT NULL AND alarm_id IS NOT NULL AND revision IS NOT NULL
                     ELSE subject_id IS NOT NULL AND case_id IS NULL AND revision IS NULL END);
ALTER TABLE ledger ALTER noted_at SET DEFAULT clock_timestamp();
CREATE INDEX ledger_subject ON ledger (subject, subject_id) WHERE subject <> 'case';

-- An enterprise sees the lines of its cases and those that name it.
DROP POLICY own_enterprise ON ledger;
CREATE POLICY own_enterprise ON ledger TO hazardloop_api USING (
    CASE WHEN case_id IS NULL THEN may_see(enterprise_id)
         ELSE EXISTS (SELECT FROM disposal_case WHERE disposal_case.case_id = ledger.case_id) END);

-- A request speaks for people, never for the signal or the service, and of a case only of the revision just made.
DROP POLICY people_speak_of_now ON ledger;
CREATE POLICY people_speak_of_now ON ledger AS RESTRICTIVE FOR INSERT TO hazardloop_api
    WITH CHECK (actor <> 'system' AND actor_role <> 'system' AND action NOT IN ('raise', 'dispatch', 'tighten')
                AND (subject <> 'case'
                     OR (revision, alarm_id) = (SELECT disposal_case.revision, disposal_case.alarm_id FROM disposal_case
                                                 WHERE disposal_case.case_id = ledger.case_id)));
