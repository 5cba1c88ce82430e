-- Reports of a day, a week, a month: what the figures said when they were frozen, and the files made of it.

-- Which period of each kind the calendar plans next.
CREATE TABLE report_calendar (
    kind       text PRIMARY KEY CONSTRAINT calendar_kind_known CHECK (kind IN ('daily', 'weekly', 'monthly')),
    next_first date NOT NULL
);

CREATE TABLE report (
    report_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL CONSTRAINT report_kind_known CHECK (kind IN ('daily', 'weekly', 'monthly')),
    first_day     date NOT NULL,                       -- local days, both in it
    last_day      date NOT NULL,
    enterprise_id int REFERENCES enterprise,           -- null: of the whole district
    by_calendar   boolean NOT NULL DEFAULT false,
    asked_by      text NOT NULL,
    asked_at      timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    -- frozen, all at once
    version       int CONSTRAINT version_counts_from_one CHECK (version > 0),
    frozen_at     timestamptz,
    contents      text,                                -- JSON, as it was hashed
    sha256        bytea,
    ids           bytea,                               -- the facts that were counted, as in figure_block
    marks         bytea,
    times         bytea,
    words         jsonb,                               -- by number, of areas, kinds and user names
    -- once all its files are there
    written_at    timestamptz,
    CONSTRAINT period_in_order CHECK (first_day <= last_day),
    CONSTRAINT frozen_whole CHECK (num_nulls(version, frozen_at, contents, sha256, ids, marks, times, words) IN (0, 8)),
    CONSTRAINT frozen_before_written CHECK (written_at IS NULL OR frozen_at IS NOT NULL),
    CONSTRAINT contents_as_hashed CHECK (sha256 = sha256(convert_to(contents, 'UTF8')))
);
ALTER TABLE report ALTER ids SET STORAGE EXTERNAL, ALTER marks SET STORAGE EXTERNAL, ALTER times SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX report_version ON report (kind, first_day, enterprise_id, version) NULLS NOT DISTINCT WHERE version IS NOT NULL;
CREATE UNIQUE INDEX report_of_calendar ON report (kind, first_day, enterprise_id) NULLS NOT DISTINCT WHERE by_calendar;
CREATE UNIQUE INDEX report_on_its_way ON report (kind, first_day, enterprise_id) NULLS NOT DISTINCT
    WHERE NOT by_calendar AND written_at IS NULL;
CREATE INDEX report_to_write ON report (by_calendar, due_at, report_id) WHERE written_at IS NULL;

CREATE TABLE report_file (
    report_id int NOT NULL REFERENCES report,
    format    text NOT NULL CONSTRAINT report_format_known CHECK (format IN ('xlsx', 'pdf')),
    lang      text NOT NULL CONSTRAINT report_language_known CHECK (lang IN ('zh-CN', 'en')),
    content   bytea NOT NULL,
    sha256    bytea NOT NULL CONSTRAINT file_as_hashed CHECK (sha256 = sha256(content)),
    PRIMARY KEY (report_id, format, lang)
);
ALTER TABLE report_file ALTER content SET STORAGE EXTERNAL;

-- What was asked stays, and what was frozen stays: a later report of the same period is another version.
CREATE FUNCTION refuse_rewritten_report() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'report %: it never changes after it is made', OLD.report_id
          USING ERRCODE = 'restrict_violation', CONSTRAINT = 'reports_stay';
END $$;
CREATE TRIGGER reports_stay BEFORE UPDATE ON report FOR EACH ROW
    WHEN (OLD.written_at IS NOT NULL
          OR (NEW.report_id, NEW.kind, NEW.first_day, NEW.last_day, NEW.enterprise_id, NEW.by_calendar, NEW.asked_by,
              NEW.asked_at, NEW.due_at)
             IS DISTINCT FROM
             (OLD.report_id, OLD.kind, OLD.first_day, OLD.last_day, OLD.enterprise_id, OLD.by_calendar, OLD.asked_by,
              OLD.asked_at, OLD.due_at)
          OR OLD.frozen_at IS NOT NULL
             AND (NEW.version, NEW.frozen_at, NEW.contents, NEW.sha256, NEW.ids, NEW.marks, NEW.times, NEW.words)
                 IS DISTINCT FROM
                 (OLD.version, OLD.frozen_at, OLD.contents, OLD.sha256, OLD.ids, OLD.marks, OLD.times, OLD.words))
    EXECUTE FUNCTION refuse_rewritten_report();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON report FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON report_file FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE report ENABLE ROW LEVEL SECURITY;
ALTER TABLE report_file ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON report TO hazardloop_api USING (may_see(enterprise_id));
CREATE POLICY own_enterprise ON report_file TO hazardloop_api
    USING (EXISTS (SELECT FROM report WHERE report.report_id = report_file.report_id));
GRANT SELECT ON report, report_file TO hazardloop_api;
GRANT INSERT (kind, first_day, last_day, enterprise_id, asked_by, asked_at, due_at) ON report TO hazardloop_api;
