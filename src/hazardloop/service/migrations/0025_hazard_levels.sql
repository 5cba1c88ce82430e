-- What hazard units hold, and the level by GB 18218-2018 that follows from it.

CREATE TABLE unit_inventory (
    hazard_unit_id int PRIMARY KEY,
    enterprise_id  int NOT NULL,
    people         int CONSTRAINT people_are_counted CHECK (people >= 0),  -- within 500 m; null = not counted
    revision       int NOT NULL CONSTRAINT inventory_revision_counts CHECK (revision > 0),
    changed_at     timestamptz NOT NULL,
    changed_by     text NOT NULL,
    UNIQUE (hazard_unit_id, enterprise_id),
    FOREIGN KEY (hazard_unit_id, enterprise_id) REFERENCES hazard_unit (hazard_unit_id, enterprise_id)
);
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON unit_inventory FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Threshold and beta are kept as they were decided, whatever later editions of the tables say.
CREATE TABLE unit_substance (
    hazard_unit_id int NOT NULL,
    enterprise_id  int NOT NULL,
    name           text NOT NULL CONSTRAINT substance_is_named CHECK (btrim(name) <> ''),
    substance      text,
    class          text,
    threshold_t    double precision NOT NULL CONSTRAINT threshold_positive CHECK (threshold_t > 0),
    beta           double precision NOT NULL CONSTRAINT beta_positive CHECK (beta > 0),
    design_t       double precision NOT NULL CONSTRAINT design_quantity_not_negative CHECK (design_t >= 0),
    PRIMARY KEY (hazard_unit_id, name),
    FOREIGN KEY (hazard_unit_id, enterprise_id) REFERENCES unit_inventory (hazard_unit_id, enterprise_id),
    CONSTRAINT substance_or_class CHECK (num_nonnulls(substance, class) > 0)
);

-- A tank that measures a substance: its strapping table and the density of what is in it.
CREATE TABLE unit_tank (
    device_id      int PRIMARY KEY,
    hazard_unit_id int NOT NULL,
    enterprise_id  int NOT NULL,
    name           text NOT NULL,
    levels_m       double precision[] NOT NULL,
    volumes_m3     double precision[] NOT NULL,
    density_t_m3   double precision NOT NULL CONSTRAINT density_positive CHECK (density_t_m3 > 0),
    density_at_cel double precision NOT NULL DEFAULT 20,
    expansion_per_k double precision NOT NULL DEFAULT 0 CONSTRAINT expansion_not_negative CHECK (expansion_per_k >= 0),
    FOREIGN KEY (device_id, enterprise_id) REFERENCES device (device_id, enterprise_id),
    FOREIGN KEY (hazard_unit_id, name) REFERENCES unit_substance (hazard_unit_id, name) ON DELETE CASCADE,
    CONSTRAINT strapping_is_a_table CHECK (cardinality(levels_m) >= 2 AND cardinality(levels_m) = cardinality(volumes_m3))
);
CREATE INDEX unit_tank_of ON unit_tank (hazard_unit_id, name);

-- What the level was and became, and why; the newest line is how it stands.
CREATE TABLE unit_level (
    hazard_unit_id int NOT NULL,
    enterprise_id  int NOT NULL,
    noted_at       timestamptz NOT NULL,
    reason         text NOT NULL CONSTRAINT level_reason_known CHECK (reason IN ('inventory', 'grade', 'quantity')),
    revision       int NOT NULL,                       -- of the inventory that it follows from
    s              double precision NOT NULL,
    r              double precision NOT NULL,
    alpha          double precision NOT NULL,
    grade          smallint CHECK (grade BETWEEN 1 AND 4),   -- null = no major hazard
    was_r          double precision,
    was_grade      smallint CHECK (was_grade BETWEEN 1 AND 4),
    quantities     jsonb NOT NULL,                     -- t of each substance, and how it is known
    PRIMARY KEY (hazard_unit_id, noted_at),
    FOREIGN KEY (hazard_unit_id, enterprise_id) REFERENCES unit_inventory (hazard_unit_id, enterprise_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON unit_level FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION newest_usable_reading(of_point int, since timestamptz)
RETURNS TABLE (value double precision, observed_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    IF may_see_point(of_point) THEN
        RETURN QUERY SELECT value, observed_at FROM reading
                      WHERE point_id = of_point AND observed_at > since AND NOT reading_is_bad(quality, value)
                      ORDER BY observed_at DESC LIMIT 1;
    END IF;
END $$;
REVOKE ALL ON FUNCTION newest_usable_reading FROM PUBLIC;
GRANT EXECUTE ON FUNCTION newest_usable_reading TO hazardloop_api;

ALTER TABLE unit_inventory ENABLE ROW LEVEL SECURITY;
ALTER TABLE unit_substance ENABLE ROW LEVEL SECURITY;
ALTER TABLE unit_tank ENABLE ROW LEVEL SECURITY;
ALTER TABLE unit_level ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON unit_inventory TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON unit_substance TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON unit_tank TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON unit_level TO hazardloop_api USING (may_see(enterprise_id));
GRANT SELECT, INSERT, UPDATE ON unit_inventory TO hazardloop_api;
GRANT SELECT, INSERT, DELETE ON unit_substance TO hazardloop_api;
GRANT SELECT, INSERT ON unit_tank TO hazardloop_api;
GRANT SELECT, INSERT ON unit_level TO hazardloop_api;
