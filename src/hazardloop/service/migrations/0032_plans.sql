-- Plans of sites (一张图): a clean drawing, and where on it each device stands.

CREATE TABLE plan (
    plan_id       int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_id int NOT NULL REFERENCES enterprise,
    name          text NOT NULL CONSTRAINT plan_is_named CHECK (btrim(name) <> ''),
    revision      int NOT NULL DEFAULT 1 CONSTRAINT plan_revision_counts CHECK (revision > 0),
    drawing       text NOT NULL CONSTRAINT drawing_bounded CHECK (octet_length(drawing) <= 4000000),   -- SVG, as it was cleaned
    box           double precision[] NOT NULL,         -- left, top, width, height in the drawing's own units
    changed_at    timestamptz NOT NULL,
    changed_by    text NOT NULL,
    UNIQUE (enterprise_id, name),
    UNIQUE (plan_id, enterprise_id),
    CONSTRAINT box_is_a_box CHECK (cardinality(box) = 4 AND box[3] > 0 AND box[4] > 0)
);
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON plan FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A device stands on one plan.
CREATE TABLE plan_anchor (
    device_id     int PRIMARY KEY,
    plan_id       int NOT NULL,
    enterprise_id int NOT NULL,
    x             double precision NOT NULL,
    y             double precision NOT NULL,
    FOREIGN KEY (device_id, enterprise_id) REFERENCES device (device_id, enterprise_id),
    FOREIGN KEY (plan_id, enterprise_id) REFERENCES plan (plan_id, enterprise_id)
);
CREATE INDEX plan_anchor_of ON plan_anchor (plan_id);

ALTER TABLE plan ENABLE ROW LEVEL SECURITY;
ALTER TABLE plan_anchor ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON plan TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON plan_anchor TO hazardloop_api USING (may_see(enterprise_id));
GRANT SELECT, INSERT, UPDATE ON plan TO hazardloop_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON plan_anchor TO hazardloop_api;
