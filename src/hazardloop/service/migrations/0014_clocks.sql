-- Clocks: jobs that outlive every process, steps of escalation, working days, shifts.

-- The queue's own tables stand in the schema `procrastinate`. Who plans a job does it in the
-- transaction that makes it necessary, through these two, whatever role the transaction has.
CREATE FUNCTION defer_jobs(tasks text[], arguments jsonb[], due timestamptz[]) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = procrastinate, pg_temp AS $$
    SELECT procrastinate_defer_jobs_v1(array_agg(
               ROW('default', task, 0, NULL, NULL, argument, at)::procrastinate_job_to_defer_v1 ORDER BY nth))
      FROM unnest(tasks, arguments, due) WITH ORDINALITY AS wanted (task, argument, at, nth)
$$;
CREATE FUNCTION cancel_jobs(job_ids bigint[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = procrastinate, pg_temp AS $$
    SELECT count(procrastinate_cancel_job_v1(job_id, false, true)) FROM unnest(job_ids) AS job_id
$$;
REVOKE EXECUTE ON FUNCTION defer_jobs, cancel_jobs FROM PUBLIC;
GRANT EXECUTE ON FUNCTION defer_jobs, cancel_jobs TO hazardloop_api;

-- The queue looks for what is due in the order of priority; with a hundred thousand clocks that
-- are not due yet it needs another way in.
CREATE INDEX IF NOT EXISTS procrastinate_jobs_due ON procrastinate.procrastinate_jobs (scheduled_at) WHERE status = 'todo';
