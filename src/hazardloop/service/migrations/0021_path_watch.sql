-- The watch over the whole path from broker to live list: synthetic alarms, and who looks for them.

-- Alarms of the canary, apart from all others: no case, no figure, no list of people's.
CREATE TABLE canary_alarm (
    alarm_id    uuid PRIMARY KEY,
    raised_at   timestamptz NOT NULL,                                -- when the canary was sent
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    shown_at    timestamptz                                          -- when an api met it in the live list
);
CREATE INDEX canary_raised ON canary_alarm (raised_at DESC);
CREATE INDEX canary_shown ON canary_alarm (raised_at DESC) WHERE shown_at IS NOT NULL;

-- One row: of many clerks one sends and looks.
CREATE TABLE path_watch (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder       text NOT NULL DEFAULT '',
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    looked_at    timestamptz,
    arrived_at   timestamptz,                                        -- raised_at of the newest that went the whole way
    broken_since timestamptz,
    broken_legs  text[] NOT NULL DEFAULT '{}',
    alarm_id     uuid REFERENCES alarm,                              -- platform.path_broken of this outage
    CONSTRAINT broken_with_its_legs CHECK ((broken_since IS NULL) = (broken_legs = '{}'))
);
INSERT INTO path_watch DEFAULT VALUES;

ALTER TABLE canary_alarm ENABLE ROW LEVEL SECURITY;
CREATE POLICY nobody_in_particular ON canary_alarm TO hazardloop_api USING (may_see(0));
GRANT SELECT, UPDATE (shown_at) ON canary_alarm TO hazardloop_api;
