-- What the service measures of itself: ordinary points of devices that nobody else reports for.

-- The platform's own enterprise: left out of lists and figures unless somebody asks for it.
ALTER TABLE enterprise ADD COLUMN internal boolean NOT NULL DEFAULT false;

-- Made and measured by the service itself; a gateway that reports for one is refused.
ALTER TABLE device ADD COLUMN internal boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX device_one_internal ON device (gateway_id) WHERE internal;

-- Gateways that were registered before each get theirs; later ones with their registration.
WITH made AS (
    INSERT INTO device (enterprise_id, gateway_id, code, kind, internal)
    SELECT enterprise_id, gateway_id, left('GW-' || code, 64), 'gateway', true FROM gateway
    ON CONFLICT DO NOTHING
    RETURNING device_id, enterprise_id
)
INSERT INTO point (device_id, enterprise_id, quantity, unit)
SELECT device_id, enterprise_id, quantity, unit
  FROM made, (VALUES ('clock_offset', 's'), ('dead_letter_share', '%')) AS watched (quantity, unit);
