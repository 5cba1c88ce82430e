-- What the published figures are counted from, frozen where it could be changed and packed where there is much of it.

-- An alarm is counted under the kind and the area that were true when it was raised.
ALTER TABLE alarm ADD COLUMN raised_kind text NOT NULL DEFAULT '', ADD COLUMN raised_area text NOT NULL DEFAULT '';
UPDATE alarm SET raised_kind = device.kind, raised_area = enterprise.area
  FROM device, enterprise
 WHERE device.device_id = alarm.device_id AND enterprise.enterprise_id = alarm.enterprise_id;

CREATE FUNCTION freeze_alarm_whereabouts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT device.kind, enterprise.area INTO NEW.raised_kind, NEW.raised_area
      FROM device JOIN enterprise USING (enterprise_id) WHERE device_id = NEW.device_id;
    RETURN NEW;
END $$;
CREATE TRIGGER whereabouts_are_frozen BEFORE INSERT ON alarm FOR EACH ROW EXECUTE FUNCTION freeze_alarm_whereabouts();
CREATE TRIGGER whereabouts_stay BEFORE UPDATE ON alarm FOR EACH ROW
    WHEN ((NEW.raised_kind, NEW.raised_area) IS DISTINCT FROM (OLD.raised_kind, OLD.raised_area)) EXECUTE FUNCTION refuse_rewritten_alarm();

-- Short numbers for the words that facts are grouped by.
CREATE TABLE figure_word (
    word_id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    word    text NOT NULL UNIQUE
);

-- The facts of all alarms that an enterprise had in a UTC month, as alarms/facts.py packs them. Only a
-- shorter way to the same numbers: whatever changed since `figure_progress` is read from the alarms.
CREATE TABLE figure_block (
    month         date NOT NULL CONSTRAINT month_begins CHECK (extract(day FROM month) = 1),
    enterprise_id int NOT NULL REFERENCES enterprise,
    ids           bytea NOT NULL,
    marks         bytea NOT NULL,
    times         bytea NOT NULL,
    PRIMARY KEY (month, enterprise_id)
);
-- Numbers do not compress well enough to pay for it.
ALTER TABLE figure_block ALTER ids SET STORAGE EXTERNAL, ALTER marks SET STORAGE EXTERNAL, ALTER times SET STORAGE EXTERNAL;
ALTER TABLE figure_block ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON figure_block TO hazardloop_api USING (may_see(enterprise_id));

-- The blocks hold every change up to this number of the live counter.
CREATE TABLE figure_progress (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    uuid NOT NULL,
    seq      bigint NOT NULL
);
GRANT SELECT ON figure_word, figure_block, figure_progress TO hazardloop_api;
