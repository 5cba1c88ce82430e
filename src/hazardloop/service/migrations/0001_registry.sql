-- Who reports, from where, and who may look.

-- The role in which every request of the API runs: row security applies to it and it deletes nothing.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hazardloop_api') THEN
        CREATE ROLE hazardloop_api NOLOGIN;
    END IF;
    EXECUTE format('GRANT hazardloop_api TO %I', current_user);
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO hazardloop_api;

-- Whose rows the current request may see: '*' all, an enterprise_id, unset none.
CREATE FUNCTION may_see(enterprise_id int) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT current_setting('hazardloop.scope', true) IN ('*', enterprise_id::text)
$$;

CREATE TABLE enterprise (
    enterprise_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code          text NOT NULL UNIQUE CONSTRAINT enterprise_code_fits_a_topic CHECK (code ~ '^[A-Za-z0-9_-]{1,64}$'),
    name          text NOT NULL,
    area          text NOT NULL DEFAULT '',
    contact       text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE hazard_unit (
    hazard_unit_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_id  int NOT NULL REFERENCES enterprise,
    code           text NOT NULL CONSTRAINT hazard_unit_code_form CHECK (code ~ '^[A-Za-z0-9_-]{1,64}$'),
    name           text NOT NULL,
    grade          smallint CONSTRAINT hazard_unit_grade_of_gb18218 CHECK (grade BETWEEN 1 AND 4),
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (enterprise_id, code),
    UNIQUE (hazard_unit_id, enterprise_id)
);

CREATE TABLE gateway (
    gateway_id        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_id     int NOT NULL REFERENCES enterprise,
    code              text NOT NULL CONSTRAINT gateway_code_fits_a_topic CHECK (code ~ '^[A-Za-z0-9_-]{1,64}$'),
    name              text NOT NULL DEFAULT '',
    mqtt_username     text NOT NULL UNIQUE,
    secret_bcrypt     text NOT NULL,   -- as NATS and EMQX check it
    secret_pbkdf2     text NOT NULL,   -- as Mosquitto checks it
    secret_rotated_at timestamptz NOT NULL DEFAULT now(),
    online            boolean NOT NULL DEFAULT false,
    status_at         timestamptz,
    firmware          text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (enterprise_id, code),
    UNIQUE (gateway_id, enterprise_id)
);

CREATE TABLE device (
    device_id           int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_id       int NOT NULL REFERENCES enterprise,
    gateway_id          int NOT NULL,
    hazard_unit_id      int,
    code                text NOT NULL CONSTRAINT device_code_form CHECK (code ~ '^[A-Za-z0-9_-]{1,64}$'),
    kind                text NOT NULL,
    name                text NOT NULL DEFAULT '',
    location            text NOT NULL DEFAULT '',
    tags                jsonb NOT NULL DEFAULT '{}',
    expected_interval_s real CONSTRAINT device_interval_positive CHECK (expected_interval_s > 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (enterprise_id, code),
    UNIQUE (device_id, enterprise_id),
    FOREIGN KEY (gateway_id, enterprise_id) REFERENCES gateway (gateway_id, enterprise_id),
    FOREIGN KEY (hazard_unit_id, enterprise_id) REFERENCES hazard_unit (hazard_unit_id, enterprise_id)
);

-- One quantity that a device measures; made with the device from its kind.
CREATE TABLE point (
    point_id      int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id     int NOT NULL,
    enterprise_id int NOT NULL,
    quantity      text NOT NULL,
    unit          text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (device_id, quantity),
    FOREIGN KEY (device_id, enterprise_id) REFERENCES device (device_id, enterprise_id)
);
CREATE INDEX point_enterprise ON point (enterprise_id);

-- Counts every change of the registry, so that a worker knows when to read it again.
CREATE TABLE registry_revision (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), revision bigint NOT NULL);
INSERT INTO registry_revision (revision) VALUES (1);
CREATE FUNCTION count_registry_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE registry_revision SET revision = revision + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE ON enterprise FOR EACH STATEMENT EXECUTE FUNCTION count_registry_change();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE ON hazard_unit FOR EACH STATEMENT EXECUTE FUNCTION count_registry_change();
CREATE TRIGGER registry_changed AFTER INSERT OR DELETE OR UPDATE OF code, secret_bcrypt ON gateway FOR EACH STATEMENT EXECUTE FUNCTION count_registry_change();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE ON device FOR EACH STATEMENT EXECUTE FUNCTION count_registry_change();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE ON point FOR EACH STATEMENT EXECUTE FUNCTION count_registry_change();

CREATE TABLE user_account (
    user_id       int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username      text NOT NULL UNIQUE CONSTRAINT username_form CHECK (username ~ '^[A-Za-z0-9_.@-]{1,64}$'),
    display_name  text NOT NULL,
    role          text NOT NULL CONSTRAINT role_known CHECK (role IN
                      ('admin', 'supervisor', 'operator', 'authority', 'enterprise', 'auditor', 'tester')),
    enterprise_id int REFERENCES enterprise,
    password_hash text NOT NULL,
    language      text NOT NULL DEFAULT 'zh-CN',
    active        boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT enterprise_user_has_one CHECK ((role = 'enterprise') = (enterprise_id IS NOT NULL))
);

CREATE TABLE user_session (
    token_sha256 bytea PRIMARY KEY,
    user_id      int NOT NULL REFERENCES user_account,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);

ALTER TABLE enterprise ENABLE ROW LEVEL SECURITY;
ALTER TABLE hazard_unit ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway ENABLE ROW LEVEL SECURITY;
ALTER TABLE device ENABLE ROW LEVEL SECURITY;
ALTER TABLE point ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON enterprise TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON hazard_unit TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON gateway TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON device TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON point TO hazardloop_api USING (may_see(enterprise_id));
GRANT SELECT, INSERT, UPDATE ON enterprise, hazard_unit, gateway, device, point TO hazardloop_api;
GRANT SELECT, INSERT, UPDATE ON user_account TO hazardloop_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON user_session TO hazardloop_api;
GRANT SELECT ON registry_revision TO hazardloop_api;
