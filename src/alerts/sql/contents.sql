-- What messages say.

-- name: events
-- What alerts say.
SELECT id, alert_type, scope_region AS region, COALESCE(scope_assets, '{}') AS assets, severity, score, headline, body, created_at,
    COALESCE(driver_event_ids, '{}') AS driver_event_ids
FROM alert_events
WHERE id = ANY(%(ids)s::bigint[])

-- name: drivers
-- The news behind alerts.
SELECT id, title, COALESCE(source_name, '') AS source_name, source_url FROM events WHERE id = ANY(%(ids)s::bigint[])

-- name: digests
-- The severest events of digests, at most %(most)s each, and how many there are in all.
SELECT digest_id, period, window_start, window_end, event_ids[1:%(most)s] AS event_ids, cardinality(event_ids) AS total
FROM (
    SELECT g.id AS digest_id, g.period, g.window_start, g.window_end,
        array_agg(e.id ORDER BY e.severity DESC, e.created_at DESC, e.id) AS event_ids
    FROM user_alert_digests AS g
    JOIN user_alert_digest_items AS i ON i.digest_id = g.id
    JOIN user_alert_deliveries AS d ON d.id = i.delivery_id
    JOIN alert_events AS e ON e.id = d.alert_event_id
    WHERE g.id = ANY(%(ids)s::bigint[])
    GROUP BY g.id
) AS contents
