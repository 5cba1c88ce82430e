-- Roles beside the owner, and what each may do; run after every migration, so that tables made by
-- any of them are as guarded as the rest. See database_roles.py.

-- A role is the whole server's: two databases may be migrated at the same moment.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['hazardloop_service', 'hazardloop_auditor'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        IF NOT pg_has_role(current_user, wanted, 'USAGE') THEN
            EXECUTE format('GRANT %I TO %I', wanted, current_user);
        END IF;
    END LOOP;
    IF NOT pg_has_role('hazardloop_service', 'hazardloop_api', 'MEMBER') THEN
        GRANT hazardloop_api TO hazardloop_service;
    END IF;
END $$;

-- What only grows carries a trigger `append_only`, what is never removed one named `never_deleted`.
DO $$
DECLARE
    one record;
BEGIN
    GRANT USAGE, CREATE ON SCHEMA public TO hazardloop_service;
    GRANT USAGE ON SCHEMA public TO hazardloop_auditor;
    GRANT USAGE ON SCHEMA procrastinate TO hazardloop_service;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public, procrastinate TO hazardloop_service;
    FOR one IN
        SELECT c.oid::regclass AS name, c.relname, c.relrowsecurity,
               EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'append_only')
                   AS append_only,
               EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'never_deleted')
                   AS never_deleted,
               c.relname IN ('ledger', 'ledger_chain', 'ledger_checkpoint', 'alarm', 'alarm_change',
                             'disposal_case', 'assignment', 'evidence', 'rule_version') AS audited
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('public', 'procrastinate') AND c.relkind IN ('r', 'p', 'v')
           AND NOT c.relispartition AND pg_get_userbyid(c.relowner) = current_user
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM hazardloop_service', one.name);
        CONTINUE WHEN one.relname = 'ledger_unchained';
        EXECUTE format('GRANT %s ON %s TO hazardloop_service', CASE
            WHEN one.relname IN ('ledger_chain', 'schema_migration') THEN 'SELECT'
            WHEN one.append_only THEN 'SELECT, INSERT'
            WHEN one.never_deleted THEN 'SELECT, INSERT, UPDATE'
            ELSE 'SELECT, INSERT, UPDATE, DELETE' END, one.name);
        IF one.audited THEN
            EXECUTE format('GRANT SELECT ON %s TO hazardloop_auditor', one.name);
        END IF;
        IF one.relrowsecurity THEN
            EXECUTE format('DROP POLICY IF EXISTS service_sees_all ON %s', one.name);
            EXECUTE format('CREATE POLICY service_sees_all ON %s TO hazardloop_service'
                           ' USING (true) WITH CHECK (true)', one.name);
            EXECUTE format('DROP POLICY IF EXISTS auditor_reads_all ON %s', one.name);
            EXECUTE format('CREATE POLICY auditor_reads_all ON %s FOR SELECT'
                           ' TO hazardloop_auditor USING (true)', one.name);
        END IF;
    END LOOP;
    FOR one IN
        SELECT p.oid::regprocedure AS name, p.prokind = 'p' AS procedure FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')
           AND pg_get_userbyid(p.proowner) = current_user
    LOOP
        EXECUTE format('GRANT EXECUTE ON %s %s TO hazardloop_service',
                       CASE WHEN one.procedure THEN 'PROCEDURE' ELSE 'FUNCTION' END, one.name);
    END LOOP;
    REVOKE ALL ON FUNCTION append_to_chain(bigint[]) FROM hazardloop_service;
END $$;

-- Readings and their sums are partitioned and dropped while the service runs.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT c.oid::regclass AS name, c.relkind
          FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace
           AND c.relkind IN ('r', 'p', 'v') AND pg_get_userbyid(c.relowner) = current_user
           -- A binary COPY goes into a table with row security only by who owns it.
           AND (c.relname IN ('reading', 'reading_1min', 'reading_1h', 'balance_arrival')
                OR c.oid IN (SELECT inhrelid FROM pg_inherits
                              WHERE inhparent IN (to_regclass('reading'), to_regclass('reading_1min'),
                                                  to_regclass('reading_1h'))))
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO hazardloop_service',
                       CASE one.relkind WHEN 'v' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, one.name);
    END LOOP;
END $$;
