-- Which gateways and devices changed, so that a worker reads those again and not the whole registry.

-- One row for each that has changed since this table is there: it needs no clearing out. Revisions
-- are given out under the lock of the one row of registry_revision, so they appear in their order.
CREATE TABLE registry_change (
    what     text NOT NULL CONSTRAINT registry_change_of_what CHECK (what IN ('gateway', 'device')),
    id       int NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (what, id)
);
CREATE INDEX registry_change_revision ON registry_change (revision);
GRANT SELECT ON registry_change TO hazardloop_api;

-- The revision that this transaction makes: one more than the last, however many statements it has.
CREATE FUNCTION next_registry_revision() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    made bigint;
BEGIN
    UPDATE registry_revision SET revision = revision + 1
     WHERE xmin::text::bigint <> pg_current_xact_id()::text::bigint % 4294967296;
    SELECT revision INTO made FROM registry_revision;
    RETURN made;
END $$;

CREATE OR REPLACE FUNCTION count_registry_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM next_registry_revision();
    RETURN NULL;
END $$;

CREATE FUNCTION note_registry_change(what text, ids int[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    made bigint := next_registry_revision();
BEGIN
    INSERT INTO registry_change (what, id, revision)
    SELECT note_registry_change.what, changed, made FROM unnest(ids) AS changed
        ON CONFLICT ON CONSTRAINT registry_change_pkey DO UPDATE SET revision = excluded.revision;
END $$;

-- Of devices and points: the devices. `touched` holds the rows as they are now, or as they were.
CREATE FUNCTION note_devices() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM note_registry_change('device', (SELECT array_agg(DISTINCT device_id) FROM touched));
    RETURN NULL;
END $$;

CREATE FUNCTION note_gateways() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM note_registry_change('gateway', (SELECT array_agg(DISTINCT gateway_id) FROM touched));
    RETURN NULL;
END $$;

-- A hazard unit's grade is a property of its devices' points.
CREATE FUNCTION note_hazard_units() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM note_registry_change('device', (SELECT array_agg(device_id) FROM device JOIN touched USING (hazard_unit_id)));
    RETURN NULL;
END $$;

-- An enterprise's code is part of what its gateways and points are called.
CREATE FUNCTION note_enterprise() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM note_registry_change('gateway', (SELECT array_agg(gateway_id) FROM gateway WHERE enterprise_id = NEW.enterprise_id));
    PERFORM note_registry_change('device', (SELECT array_agg(device_id) FROM device WHERE enterprise_id = NEW.enterprise_id));
    RETURN NULL;
END $$;

-- Of a gateway everything counts but what it says of itself.
CREATE FUNCTION note_gateway() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM note_registry_change('gateway', ARRAY[NEW.gateway_id]);
    RETURN NULL;
END $$;

DROP TRIGGER registry_changed ON gateway;
CREATE TRIGGER registry_gateway_made AFTER INSERT ON gateway REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_gateways();
CREATE TRIGGER registry_gateway_gone AFTER DELETE ON gateway REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_gateways();
CREATE TRIGGER registry_gateway_changed AFTER UPDATE ON gateway FOR EACH ROW
    WHEN (to_jsonb(OLD) - '{online,status_at,firmware}'::text[] IS DISTINCT FROM to_jsonb(NEW) - '{online,status_at,firmware}'::text[])
    EXECUTE FUNCTION note_gateway();

DROP TRIGGER registry_changed ON device;
CREATE TRIGGER registry_device_made AFTER INSERT ON device REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_devices();
CREATE TRIGGER registry_device_gone AFTER DELETE ON device REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_devices();
CREATE TRIGGER registry_device_changed AFTER UPDATE ON device REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_devices();

DROP TRIGGER registry_changed ON point;
CREATE TRIGGER registry_point_made AFTER INSERT ON point REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_devices();
CREATE TRIGGER registry_point_gone AFTER DELETE ON point REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_devices();
CREATE TRIGGER registry_point_changed AFTER UPDATE ON point REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_devices();
CREATE TRIGGER registry_point_moved AFTER UPDATE ON point REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_devices();

CREATE TRIGGER registry_unit_changed AFTER UPDATE ON hazard_unit REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION note_hazard_units();
CREATE TRIGGER registry_enterprise_renamed AFTER UPDATE ON enterprise FOR EACH ROW
    WHEN (OLD.code IS DISTINCT FROM NEW.code) EXECUTE FUNCTION note_enterprise();
