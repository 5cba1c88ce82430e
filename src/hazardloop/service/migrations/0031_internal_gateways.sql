-- Gateways that nobody can log in as: the service itself reports for them. They stand in no figure, and in no list
-- unless asked for.
ALTER TABLE gateway ADD COLUMN internal boolean NOT NULL DEFAULT false;
UPDATE gateway SET internal = true WHERE secret_bcrypt = '' AND secret_pbkdf2 = ''
   AND (code = 'LEVELS' OR enterprise_id IN (SELECT enterprise_id FROM enterprise WHERE internal));
