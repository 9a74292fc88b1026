-- Why one user hears of one event, or not.

-- name: subject
-- The event and whether the user is there; other events that compete with it for the places of the day.
SELECT
    e.id AS event_id, e.alert_type, e.headline, e.severity, e.created_at,
    e.fanout_completed_at IS NOT NULL OR e.fanout_waived AS fanned_out,
    e.fanout_scope,
    EXISTS (SELECT FROM users WHERE id = %(user_id)s) AS user_exists,
    ARRAY(
        SELECT o.id
        FROM alert_events AS o
        WHERE
            e.fanout_completed_at IS NULL AND o.fanout_completed_at IS NULL AND NOT o.fanout_waived
            AND o.created_at > %(since)s AND o.created_at <= %(now)s AND o.id <> e.id
    ) AS rivals
FROM alert_events AS e
WHERE e.id = %(event_id)s;

-- name: verdicts
-- Closes the statement of `decisions` (fanout.sql): how far the event gets with the user on each channel.
SELECT
    c.channel,
    people.plan_code AS plan,
    reach.user_id IS NOT NULL AS offered,
    people.plan_code = ANY(wave.plans) AS type_offered,
    interest.user_id IS NOT NULL AS type_wished,
    COALESCE(interest.near, false) AS region_wished,
    COALESCE(interest.fits, false) AS asset_wished,
    COALESCE(interest.high, false) AS threshold_reached,
    COALESCE(reach.switched_on, false) AS switched_on,
    COALESCE(reach.has_digest OR NOT reach.digest_wished, false) AS mode_offered,
    COALESCE(reach.reachable, false) AS reachable,
    COALESCE(reach.instants_per_day, 0) AS instants_per_day,
    COALESCE(reach.hourly, false) AS hourly,
    taken.instants AS taken,
    ranked.place,
    decisions.gate,
    decisions.kind,
    COALESCE(decisions.moved, false) AS moved,
    d.delivery_kind,
    d.status,
    d.failure_reason,
    d.next_retry_at,
    d.sent_at
FROM people
CROSS JOIN wave
CROSS JOIN (VALUES (1, 'email'), (2, 'telegram'), (3, 'sms')) AS c (place, channel)
LEFT JOIN reach ON reach.channel = c.channel
LEFT JOIN interest ON interest.event_id = wave.event_id
LEFT JOIN taken ON taken.channel = c.channel
LEFT JOIN ranked ON ranked.channel = c.channel AND ranked.event_id = wave.event_id
LEFT JOIN decisions ON decisions.channel = c.channel AND decisions.event_id = wave.event_id
LEFT JOIN LATERAL (
    SELECT delivery_kind, status, failure_reason, next_retry_at, sent_at
    FROM user_alert_deliveries AS x
    WHERE x.alert_event_id = wave.event_id AND x.user_id = people.user_id AND x.channel = c.channel AND x.delivery_kind IN ('instant', 'digest')
    ORDER BY x.id
    LIMIT 1
) AS d ON true
WHERE wave.event_id = %(event_id)s
ORDER BY c.place;
