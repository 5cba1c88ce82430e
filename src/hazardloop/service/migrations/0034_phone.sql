-- What phones send again without doing it twice, and who stands in for whom.

-- A request that somebody named, and that took effect; sent again under that name, it is answered and not repeated.
CREATE TABLE taken_request (
    user_id        int NOT NULL REFERENCES user_account,
    request_key    text NOT NULL CONSTRAINT request_key_form CHECK (request_key ~ '^[A-Za-z0-9_-]{8,100}$'),
    request_sha256 bytea NOT NULL CONSTRAINT request_is_hashed CHECK (octet_length(request_sha256) = 32),
    enterprise_id  int REFERENCES enterprise,       -- of the user; null: on the authority's side
    evidence_id    uuid REFERENCES evidence DEFERRABLE INITIALLY DEFERRED, -- what it added
    taken_at       timestamptz NOT NULL,
    PRIMARY KEY (user_id, request_key)
);
CREATE INDEX taken_request_old ON taken_request (taken_at);
ALTER TABLE taken_request ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON taken_request TO hazardloop_api USING (may_see(coalesce(enterprise_id, 0)));
GRANT SELECT, INSERT ON taken_request TO hazardloop_api;

-- From one instant to another the deputy is told instead of the contact. Ended early, it ends then.
CREATE TABLE stand_in (
    stand_in_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contact_id  int NOT NULL REFERENCES contact,
    deputy_id   int NOT NULL REFERENCES contact,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    reason      text NOT NULL DEFAULT '',
    made_by     text NOT NULL,
    made_at     timestamptz NOT NULL,
    CONSTRAINT nobody_stands_in_for_themselves CHECK (deputy_id <> contact_id),
    CONSTRAINT stand_in_ends_after_it_starts CHECK (ends_at >= starts_at)
);
CREATE INDEX stand_in_of ON stand_in (contact_id, ends_at);
ALTER TABLE stand_in ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_enterprise ON stand_in TO hazardloop_api
    USING (EXISTS (SELECT FROM contact WHERE contact.contact_id = stand_in.contact_id));
GRANT SELECT, INSERT ON stand_in TO hazardloop_api;
GRANT UPDATE (ends_at) ON stand_in TO hazardloop_api;
