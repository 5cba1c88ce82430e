-- What a rule compares may be worked out of many readings: its unit, and how it was done.

ALTER TABLE alarm ADD COLUMN value_unit text, ADD COLUMN arithmetic jsonb;
COMMENT ON COLUMN alarm.value_unit IS 'UCUM, of value and limit_value; null: the unit of the point';
COMMENT ON COLUMN alarm.arithmetic IS 'how value was worked out of readings; null: it is one reading''s';
