-- Whether the registered devices report: counted in slots of a UTC day, in each of which a device has
-- to be heard at least once.

CREATE TABLE device_day (
    day           date NOT NULL,
    device_id     int NOT NULL,
    enterprise_id int NOT NULL,
    until         timestamptz NOT NULL,   -- counted up to here; the end of the day once it is over
    slot_s        int NOT NULL CHECK (slot_s > 0 AND slot_s % 60 = 0),
    slots         int NOT NULL CHECK (slots >= 0),   -- whole ones since the device was registered
    seen          int NOT NULL CHECK (seen BETWEEN 0 AND slots),      -- in which it said anything
    usable        int NOT NULL CHECK (usable BETWEEN 0 AND seen),     -- in which it could have raised an alarm
    in_service    boolean,                -- the last it said of that on the day; null: it said nothing
    PRIMARY KEY (day, device_id),
    FOREIGN KEY (device_id, enterprise_id) REFERENCES device (device_id, enterprise_id)
);
CREATE INDEX device_day_device ON device_day (device_id, day);

-- How many devices of a kind a hazard unit must have, by its design or by an order.
CREATE TABLE required_devices (
    hazard_unit_id int NOT NULL,
    enterprise_id  int NOT NULL,
    kind           text NOT NULL,
    required       int NOT NULL CONSTRAINT required_is_some CHECK (required BETWEEN 1 AND 100000),
    basis          text NOT NULL DEFAULT '',
    PRIMARY KEY (hazard_unit_id, kind),
    FOREIGN KEY (hazard_unit_id, enterprise_id) REFERENCES hazard_unit (hazard_unit_id, enterprise_id)
);

ALTER TABLE device_day ENABLE ROW LEVEL SECURITY;
ALTER TABLE required_devices ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON device_day TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON required_devices TO hazardloop_api USING (may_see(enterprise_id));
GRANT SELECT ON device_day TO hazardloop_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON required_devices TO hazardloop_api;
