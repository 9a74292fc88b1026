-- name: switch_off
-- A channel that its user wants no more of; the mode stays, for the day it is switched on again.
INSERT INTO user_alert_channels (user_id, channel, enabled)
SELECT id, %(channel)s, false FROM users WHERE id = %(user_id)s
ON CONFLICT (user_id, channel) DO UPDATE SET enabled = false
