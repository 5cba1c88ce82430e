-- Who is told what, over which channel, what came of it, and the links that open a case on a phone.

CREATE TABLE contact (
    contact_id    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL,
    user_id       int REFERENCES user_account,      -- who opens links; null: somebody without an account
    enterprise_id int REFERENCES enterprise,        -- null: on the authority's side
    area          text NOT NULL DEFAULT '',         -- '' = wherever nobody stands for the area itself
    post          text NOT NULL CONSTRAINT contact_post_form CHECK (post ~ '^[a-z_]{1,40}$'),
    language      text NOT NULL DEFAULT 'zh-CN' CONSTRAINT contact_language_known CHECK (language IN ('zh-CN', 'en')),
    active        boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX contact_post ON contact (post, enterprise_id, area) WHERE active;

-- Never deleted: deliveries point at it. What is tried first has the lowest position.
CREATE TABLE contact_channel (
    channel_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contact_id int NOT NULL REFERENCES contact,
    kind       text NOT NULL,
    position   smallint NOT NULL,
    shown      text NOT NULL,          -- what people get to see of it
    target     jsonb NOT NULL,         -- with its secrets: the api writes it and cannot read it
    active     boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX contact_channel_of ON contact_channel (contact_id) WHERE active;

-- What must reach whom, and why. Kept also where nobody stands at the post.
CREATE TABLE notice (
    notice_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL CONSTRAINT notice_kind_form CHECK (kind ~ '^[a-z_]{1,40}$'),
    case_id       uuid REFERENCES disposal_case,
    alarm_id      uuid REFERENCES alarm,
    enterprise_id int REFERENCES enterprise,        -- whose matter it is
    contact_id    int REFERENCES contact,           -- this one; null: who stands at the post
    party         text CONSTRAINT notice_party_known CHECK (party IN ('enterprise', 'authority')),
    post          text NOT NULL,
    tier          smallint NOT NULL CHECK (tier BETWEEN 0 AND 4),
    due_at        timestamptz,
    body          jsonb NOT NULL DEFAULT '{}',
    queued_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    state         text NOT NULL DEFAULT 'waiting' CONSTRAINT notice_state_known
                  CHECK (state IN ('waiting', 'held', 'sending', 'sent', 'undeliverable')),
    reason        text                              -- why it is held or undeliverable
);
CREATE INDEX notice_of_case ON notice (case_id, notice_id);
CREATE INDEX notice_open ON notice (state, notice_id) WHERE state <> 'sent';

-- One message to one contact: of one notice, or of several that storm control joined.
CREATE TABLE notice_message (
    message_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contact_id    int NOT NULL REFERENCES contact,
    enterprise_id int REFERENCES enterprise,        -- its site; null: of several, or of none
    tier          smallint NOT NULL CHECK (tier BETWEEN 0 AND 4),
    gathers       boolean NOT NULL,                 -- others may join until send_at
    every_channel boolean NOT NULL DEFAULT false,   -- a test goes out on all of them
    planned_at    timestamptz NOT NULL,
    send_at       timestamptz NOT NULL,
    state         text NOT NULL DEFAULT 'waiting' CONSTRAINT message_state_known
                  CHECK (state IN ('waiting', 'sending', 'sent', 'undeliverable')),
    too_few       boolean NOT NULL DEFAULT false,   -- red, and fewer than two channels took it
    sent_at       timestamptz,
    read_at       timestamptz,
    read_by       text CONSTRAINT message_read_how CHECK (read_by IN ('link', 'sign')),
    CONSTRAINT read_somehow CHECK ((read_at IS NULL) = (read_by IS NULL))
);
CREATE INDEX notice_message_recent ON notice_message (contact_id, send_at);

CREATE TABLE notice_in_message (
    message_id bigint NOT NULL REFERENCES notice_message,
    notice_id  bigint NOT NULL REFERENCES notice,
    PRIMARY KEY (message_id, notice_id)
);
CREATE INDEX message_of_notice ON notice_in_message (notice_id);

-- Each attempt. Its delivery key, message and channel, is the same each time: a repeat shows as one.
CREATE TABLE notice_delivery (
    message_id bigint NOT NULL REFERENCES notice_message,
    channel_id int NOT NULL REFERENCES contact_channel,
    attempt    int NOT NULL CHECK (attempt >= 1),
    began_at   timestamptz NOT NULL,
    ended_at   timestamptz,
    result     text NOT NULL CONSTRAINT delivery_result_known
               CHECK (result IN ('sending', 'delivered', 'failed', 'interrupted')),
    answer     text CONSTRAINT delivery_answer_is_cut CHECK (length(answer) <= 500),
    PRIMARY KEY (message_id, channel_id, attempt),
    CONSTRAINT ended_when_known CHECK ((result = 'sending') = (ended_at IS NULL))
);

-- Opens one case for one person, once. Only the hash of its token is kept.
CREATE TABLE case_link (
    token_sha256 bytea PRIMARY KEY CONSTRAINT token_is_hashed CHECK (octet_length(token_sha256) = 32),
    message_id   bigint NOT NULL REFERENCES notice_message,
    contact_id   int NOT NULL REFERENCES contact,
    case_id      uuid NOT NULL REFERENCES disposal_case,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    used_from    text
);
CREATE INDEX case_link_expired ON case_link (expires_at);

-- A session that a link opened reaches this case and nothing else.
ALTER TABLE user_session ADD COLUMN case_id uuid REFERENCES disposal_case;

ALTER TABLE contact ENABLE ROW LEVEL SECURITY;
ALTER TABLE contact_channel ENABLE ROW LEVEL SECURITY;
ALTER TABLE notice ENABLE ROW LEVEL SECURITY;
ALTER TABLE notice_message ENABLE ROW LEVEL SECURITY;
ALTER TABLE notice_in_message ENABLE ROW LEVEL SECURITY;
ALTER TABLE notice_delivery ENABLE ROW LEVEL SECURITY;
ALTER TABLE case_link ENABLE ROW LEVEL SECURITY;
-- What belongs to no enterprise is for those who see all.
CREATE POLICY own_enterprise ON contact TO hazardloop_api USING (may_see(coalesce(enterprise_id, 0)));
CREATE POLICY own_enterprise ON contact_channel TO hazardloop_api
    USING (EXISTS (SELECT FROM contact WHERE contact.contact_id = contact_channel.contact_id));
CREATE POLICY own_enterprise ON notice TO hazardloop_api USING (may_see(coalesce(enterprise_id, 0)));
CREATE POLICY own_enterprise ON notice_message TO hazardloop_api
    USING (EXISTS (SELECT FROM contact WHERE contact.contact_id = notice_message.contact_id));
CREATE POLICY own_enterprise ON notice_in_message TO hazardloop_api
    USING (EXISTS (SELECT FROM notice_message WHERE notice_message.message_id = notice_in_message.message_id));
CREATE POLICY own_enterprise ON notice_delivery TO hazardloop_api
    USING (EXISTS (SELECT FROM notice_message WHERE notice_message.message_id = notice_delivery.message_id));
CREATE POLICY nobody_in_particular ON case_link TO hazardloop_api USING (may_see(0));
GRANT SELECT, INSERT ON contact TO hazardloop_api;
GRANT UPDATE (name, user_id, area, post, language, active) ON contact TO hazardloop_api;
GRANT SELECT (channel_id, contact_id, kind, position, shown, active, created_at), INSERT ON contact_channel TO hazardloop_api;
GRANT UPDATE (position, active) ON contact_channel TO hazardloop_api;
GRANT SELECT, INSERT ON notice TO hazardloop_api;
GRANT UPDATE (state, reason) ON notice TO hazardloop_api;
GRANT SELECT ON notice_message, notice_in_message, notice_delivery, case_link TO hazardloop_api;
GRANT UPDATE (read_at, read_by) ON notice_message TO hazardloop_api;
GRANT UPDATE (used_at, used_from) ON case_link TO hazardloop_api;
