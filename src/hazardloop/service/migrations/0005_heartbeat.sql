-- Each process says every second that it lives; /readyz believes only a fresh beat.
CREATE TABLE process_heartbeat (
    role     text NOT NULL,
    instance text NOT NULL,
    beat_at  timestamptz NOT NULL,
    detail   jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (role, instance)
);
GRANT SELECT ON process_heartbeat TO hazardloop_api;
