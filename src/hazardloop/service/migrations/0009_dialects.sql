-- How a gateway's payloads are written, and what must be known to read them.

ALTER TABLE gateway
    ADD dialect text NOT NULL DEFAULT 'hazardloop' CONSTRAINT gateway_dialect_known
        CHECK (dialect IN ('hazardloop', 'thingsboard', 'sparkplug', 'senml', 'mapping')),
    ADD profile jsonb NOT NULL DEFAULT '{}' CONSTRAINT gateway_profile_object
        CHECK (jsonb_typeof(profile) = 'object');

DROP TRIGGER registry_changed ON gateway;
CREATE TRIGGER registry_changed AFTER INSERT OR DELETE OR UPDATE OF code, secret_bcrypt, dialect, profile ON gateway
    FOR EACH STATEMENT EXECUTE FUNCTION count_registry_change();
