-- What an alarm was raised as, now with the area it is counted under: a ledger alone gives every published figure.
CREATE OR REPLACE FUNCTION raising(a alarm) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
               'device_id', a.device_id, 'point_id', a.point_id, 'kind', a.raised_kind, 'area', a.raised_area,
               'rule', a.rule_id, 'rule_version', a.rule_version, 'tier', a.tier, 'value', a.value,
               'limit', a.limit_value, 'direction', a.direction, 'found_late', a.found_late, 'drill', a.drill)
$$;

-- An alarm without a case was packed as returned and reopened: everything is packed anew.
DELETE FROM figure_block;
DELETE FROM figure_progress;
