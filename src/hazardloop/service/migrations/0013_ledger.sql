-- The ledger holds every act, not only those on a case.

-- A line is about a case (with its alarm and revision) or about anything else, named by subject and id.
ALTER TABLE ledger
    ALTER case_id DROP NOT NULL,
    ALTER alarm_id DROP NOT NULL,
    ALTER revision DROP NOT NULL,
    ADD subject       text NOT NULL DEFAULT 'case',
    ADD subject_id    text,
    ADD enterprise_id int REFERENCES enterprise,
    ADD noted_at      timestamptz,
    ADD CONSTRAINT ledger_line_has_its_subject CHECK (
        CASE subject WHEN 'case' THEN case_id IS NOT NULL AND alarm_id IS NOT NULL AND revision IS NOT NULL
                     ELSE subject_id IS NOT NULL AND case_id IS NULL AND revision IS NULL END);
ALTER TABLE ledger ALTER noted_at SET DEFAULT clock_timestamp();
CREATE INDEX ledger_subject ON ledger (subject, subject_id) WHERE subject <> 'case';

-- An enterprise sees the lines of its cases and those that name it.
DROP POLICY own_enterprise ON ledger;
CREATE POLICY own_enterprise ON ledger TO hazardloop_api USING (
    CASE WHEN case_id IS NULL THEN may_see(enterprise_id)
         ELSE EXISTS (SELECT FROM disposal_case WHERE disposal_case.case_id = ledger.case_id) END);

-- A request speaks for people, never for the signal or the service, and of a case only of the revision just made.
DROP POLICY people_speak_of_now ON ledger;
CREATE POLICY people_speak_of_now ON ledger AS RESTRICTIVE FOR INSERT TO hazardloop_api
    WITH CHECK (actor <> 'system' AND actor_role <> 'system' AND action NOT IN ('raise', 'dispatch', 'tighten')
                AND (subject <> 'case'
                     OR (revision, alarm_id) = (SELECT disposal_case.revision, disposal_case.alarm_id FROM disposal_case
                                                 WHERE disposal_case.case_id = ledger.case_id)));

-- The chain: each line's hash is SHA-256 of the hash before it and the line, in the order of commits.
CREATE TABLE ledger_chain (
    position bigint PRIMARY KEY CONSTRAINT chain_counts_from_one CHECK (position > 0),
    entry_id bigint NOT NULL UNIQUE,     -- no foreign key: its check would write to every line
    hash     bytea NOT NULL CONSTRAINT chain_of_sha256 CHECK (octet_length(hash) = 32)
);

-- Lines of a transaction that has not committed yet: seen from outside, it is always empty.
CREATE UNLOGGED TABLE ledger_unchained (
    unchained_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry_ids    bigint[] NOT NULL
);

-- Appends lines to the chain. Its lock is held to the end of the transaction: it comes after all others.
CREATE FUNCTION append_to_chain(entry_ids bigint[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    line   record;
    place  bigint;
    head   bytea;
    hashes bytea[] := '{}';
    chained bigint[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('hazardloop.ledger'));
    SELECT c.position, c.hash INTO place, head FROM ledger_chain c ORDER BY c.position DESC LIMIT 1;
    place := coalesce(place, 0);
    head := coalesce(head, decode(repeat('00', 32), 'hex'));
    FOR line IN
        -- alarms/ledger_reading.py asks for the same bytes.
        SELECT l.entry_id, record_send(ROW(l.entry_id, l.subject, l.subject_id, l.case_id, l.alarm_id, l.revision,
                   l.enterprise_id, l.action, l.actor, l.actor_role, l.taken_at, l.noted_at, l.note, l.body)) AS bytes
          FROM ledger l WHERE l.entry_id = ANY (entry_ids) ORDER BY l.entry_id
    LOOP
        head := sha256(head || line.bytes);
        hashes := array_append(hashes, head);
        chained := array_append(chained, line.entry_id);
    END LOOP;
    INSERT INTO ledger_chain (position, entry_id, hash)
    SELECT place + nth, entry_id, hash FROM unnest(chained, hashes) WITH ORDINALITY AS t (entry_id, hash, nth);
END $$;
REVOKE ALL ON FUNCTION append_to_chain(bigint[]) FROM PUBLIC;

CREATE FUNCTION await_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO ledger_unchained (entry_ids)
    SELECT array_agg(entry_id ORDER BY entry_id) FROM written HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION chain_at_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM append_to_chain(NEW.entry_ids);
    DELETE FROM ledger_unchained WHERE unchained_id = NEW.unchained_id;
    RETURN NULL;
END $$;

-- Who acts: as the request says; else the user of the database's session.
CREATE FUNCTION acting() RETURNS TABLE (actor text, actor_role text) LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('hazardloop.actor', true), ''), session_user::text),
           coalesce(nullif(current_setting('hazardloop.actor_role', true), ''), 'system')
$$;

-- What an alarm was raised as: the denominator of every rate.
CREATE FUNCTION raising(a alarm) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
               'device_id', a.device_id, 'point_id', a.point_id,
               'kind', (SELECT kind FROM device d WHERE d.device_id = a.device_id),
               'rule', a.rule_id, 'rule_version', a.rule_version, 'tier', a.tier, 'value', a.value,
               'limit', a.limit_value, 'direction', a.direction, 'found_late', a.found_late, 'drill', a.drill)
$$;

CREATE FUNCTION write_raised() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO ledger (subject, subject_id, alarm_id, enterprise_id, action, actor, actor_role, taken_at, body)
    SELECT 'alarm', w.alarm_id, w.alarm_id, w.enterprise_id, 'raised', 'system', 'system', w.raised_at, raising(w::alarm)
      FROM written w ORDER BY w.alarm_id;
    RETURN NULL;
END $$;

-- Every later change of a signal, with all that its row tells.
CREATE FUNCTION changing(c alarm_change) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(to_jsonb(c) - '{alarm_id,change,changed_at,recorded_at,actor,note}'::text[])
$$;

CREATE FUNCTION write_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    who record;
BEGIN
    SELECT * INTO who FROM acting();
    INSERT INTO ledger (subject, subject_id, alarm_id, enterprise_id, action, actor, actor_role, taken_at, note, body)
    SELECT 'alarm', w.alarm_id, w.alarm_id, a.enterprise_id, w.change, coalesce(w.actor, 'system'),
           CASE WHEN w.actor IS NULL THEN 'system' ELSE who.actor_role END, w.changed_at, w.note, changing(w::alarm_change)
      FROM written w JOIN alarm a USING (alarm_id) WHERE w.change <> 'raised' ORDER BY w.alarm_id, w.version;
    RETURN NULL;
END $$;

-- What was announced as a drill may turn out to be more than one.
CREATE FUNCTION write_drill() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO ledger (subject, subject_id, alarm_id, enterprise_id, action, actor, actor_role, taken_at, body)
    SELECT 'alarm', NEW.alarm_id, NEW.alarm_id, NEW.enterprise_id, 'drill', who.actor, who.actor_role, clock_timestamp(),
           jsonb_build_object('drill', NEW.drill) FROM acting() AS who;
    RETURN NULL;
END $$;

-- Rows that say who and what there is. Arguments: subject, key column, columns left out, columns kept secret.
CREATE FUNCTION write_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    who    record;
    left_out text[] := TG_ARGV[2]::text[];
    secret jsonb := (SELECT coalesce(jsonb_object_agg(name, 'secret'), '{}') FROM unnest(TG_ARGV[3]::text[]) AS name);
BEGIN
    SELECT * INTO who FROM acting();
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO ledger (subject, subject_id, enterprise_id, action, actor, actor_role, taken_at, body)
        SELECT TG_ARGV[0], key, (is_now ->> 'enterprise_id')::int, 'changed', who.actor, who.actor_role, clock_timestamp(),
               (SELECT jsonb_object_agg(name, CASE WHEN secret ? name THEN '"secret"'::jsonb
                                                   ELSE jsonb_build_array(was -> name, value) END)
                  FROM jsonb_each(is_now) AS field (name, value) WHERE was -> name IS DISTINCT FROM value)
          FROM (SELECT to_jsonb(o) - left_out AS was, to_jsonb(o) ->> TG_ARGV[1] AS key FROM before o) AS earlier
               JOIN (SELECT to_jsonb(n) - left_out AS is_now, to_jsonb(n) ->> TG_ARGV[1] AS key FROM written n) AS later USING (key)
         WHERE was IS DISTINCT FROM is_now ORDER BY key;
    ELSE
        INSERT INTO ledger (subject, subject_id, enterprise_id, action, actor, actor_role, taken_at, body)
        SELECT TG_ARGV[0], to_jsonb(w) ->> TG_ARGV[1], (to_jsonb(w) ->> 'enterprise_id')::int,
               CASE TG_OP WHEN 'INSERT' THEN 'made' ELSE 'removed' END, who.actor, who.actor_role, clock_timestamp(),
               (to_jsonb(w) || secret) - left_out
          FROM written w ORDER BY 2;
    END IF;
    RETURN NULL;
END $$;

-- What happened before this version is written down as it stands now, and chained.
INSERT INTO ledger (subject, subject_id, alarm_id, enterprise_id, action, actor, actor_role, taken_at, body)
SELECT 'alarm', alarm_id, alarm_id, enterprise_id, 'raised', 'system', 'system', raised_at, raising(a)
  FROM alarm a ORDER BY recorded_at, alarm_id;
INSERT INTO ledger (subject, subject_id, alarm_id, enterprise_id, action, actor, actor_role, taken_at, note, body)
SELECT 'alarm', alarm_id, alarm_id, enterprise_id, change, coalesce(actor, 'system'),
       CASE WHEN actor IS NULL THEN 'system' ELSE 'unknown' END, changed_at, note, changing(c)
  FROM alarm_change c JOIN alarm USING (alarm_id) WHERE change <> 'raised' ORDER BY c.recorded_at, alarm_id, c.version;
SELECT append_to_chain(array_agg(entry_id)) FROM ledger;

CREATE TRIGGER written_down AFTER INSERT ON ledger REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION await_commit();
CREATE CONSTRAINT TRIGGER chained AFTER INSERT ON ledger_unchained
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chain_at_commit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_chain
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_raised AFTER INSERT ON alarm REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION write_raised();
CREATE TRIGGER ledger_changed AFTER INSERT ON alarm_change REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION write_changed();
CREATE TRIGGER ledger_drill AFTER UPDATE OF drill ON alarm
    FOR EACH ROW WHEN (OLD.drill <> NEW.drill) EXECUTE FUNCTION write_drill();
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        SELECT * FROM (VALUES ('enterprise',   'enterprise',  'enterprise_id',  '{}', '{}', true),
                              ('hazard_unit',  'hazard_unit', 'hazard_unit_id', '{}', '{}', true),
                              ('gateway',      'gateway',     'gateway_id',     '{online,status_at,firmware}', '{secret_bcrypt,secret_pbkdf2}', true),
                              ('device',       'device',      'device_id',      '{}', '{}', true),
                              ('point',        'point',       'point_id',       '{}', '{}', false),  -- made with its device
                              ('user_account', 'user',        'user_id',        '{}', '{password_hash}', true),
                              ('rule_version', 'rule',        'rule_id',        '{}', '{}', true))
                   AS t (relation, subject, key, left_out, secret, made_too)
    LOOP
        IF kept.made_too THEN
            EXECUTE format('CREATE TRIGGER ledger_made AFTER INSERT ON %I REFERENCING NEW TABLE AS written'
                           ' FOR EACH STATEMENT EXECUTE FUNCTION write_row(%L, %L, %L, %L)',
                           kept.relation, kept.subject, kept.key, kept.left_out, kept.secret);
        END IF;
        CONTINUE WHEN kept.relation = 'rule_version';
        EXECUTE format('CREATE TRIGGER ledger_changed AFTER UPDATE ON %I REFERENCING OLD TABLE AS before NEW TABLE AS written'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION write_row(%L, %L, %L, %L)',
                       kept.relation, kept.subject, kept.key, kept.left_out, kept.secret);
        EXECUTE format('CREATE TRIGGER ledger_removed AFTER DELETE ON %I REFERENCING OLD TABLE AS written'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION write_row(%L, %L, %L, %L)',
                       kept.relation, kept.subject, kept.key, kept.left_out, kept.secret);
    END LOOP;
END $$;

-- Signed word of where the ledger stood (alarms/ledger.py); one for each day that has ended is its anchor.
CREATE TABLE ledger_checkpoint (
    checkpoint_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position      bigint NOT NULL,
    hash          bytea NOT NULL CONSTRAINT checkpoint_of_sha256 CHECK (octet_length(hash) = 32),
    made_at       timestamptz NOT NULL,
    day           date UNIQUE,
    key           bytea NOT NULL CONSTRAINT checkpoint_key_of_ed25519 CHECK (octet_length(key) = 32),
    signature     bytea NOT NULL CONSTRAINT checkpoint_signed CHECK (octet_length(signature) = 64)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT ON ledger_chain, ledger_checkpoint TO hazardloop_api;
