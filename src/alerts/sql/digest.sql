-- Phase D. What waits for a digest goes into the digest of the last closed window.

-- name: chunk
-- The next chunk of waiting deliveries: the last user id in it, and whether nobody comes after it.
SELECT %(after)s::bigint AS after, COALESCE(max(user_id), %(after)s) AS last, count(*) < %(limit)s AS final
FROM (
    SELECT user_id
    FROM user_alert_deliveries
    WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'digest' AND NOT adopted
        AND alert_event_id IS NOT NULL AND user_id > %(after)s
    ORDER BY user_id
    LIMIT %(limit)s
) AS chunk;

-- name: expire
-- Items that waited too long are skipped.
UPDATE user_alert_deliveries
SET status = 'skipped', failure_reason = 'expired'
WHERE
    sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'digest' AND NOT adopted
    AND alert_event_id IS NOT NULL AND status = 'queued' AND channel IN ('email', 'telegram')
    AND user_id > %(after)s AND user_id <= %(last)s
    AND (%(allowed)s::bigint[] IS NULL OR user_id = ANY(%(allowed)s::bigint[]))
    AND created_at < %(expired_before)s;

-- name: build
-- Digests for a chunk of users: create or reopen, mark, attach; one statement, so none of it can stand alone.
WITH windows AS (
    SELECT * FROM (VALUES
        ('daily', %(daily_start)s::timestamptz, %(daily_end)s::timestamptz, %(daily_label)s),
        ('hourly', %(hourly_start)s, %(hourly_end)s, %(hourly_label)s)
    ) AS w (period, window_start, window_end, label)
    WHERE window_end IS NOT NULL
),

people AS (
    SELECT
        u.id AS user_id,
        CASE
            WHEN %(all_hourly)s OR COALESCE(p.plan_code, 'free') IN (SELECT plan_code FROM alert_plan_channels WHERE hourly)
                THEN 'hourly'
            ELSE 'daily'
        END AS period
    FROM users AS u
    LEFT JOIN user_plans AS up ON up.user_id = u.id AND up.user_id > %(after)s AND up.user_id <= %(last)s
    LEFT JOIN plan_settings AS p ON p.plan_code = up.plan AND p.is_active
    WHERE
        u.id > %(after)s AND u.id <= %(last)s
        AND (%(allowed)s::bigint[] IS NULL OR u.id = ANY(%(allowed)s::bigint[]))
),

waiting AS MATERIALIZED (
    SELECT d.id, d.user_id, d.channel, w.period, w.window_start, w.window_end, w.label
    FROM user_alert_deliveries AS d
    JOIN people ON people.user_id = d.user_id
    JOIN windows AS w ON w.period = people.period
    JOIN alert_events AS e ON e.id = d.alert_event_id AND e.created_at < w.window_end
    WHERE
        d.sent_at IS NULL AND d.failure_reason IS NULL AND d.delivery_kind = 'digest' AND NOT d.adopted
        AND d.alert_event_id IS NOT NULL AND d.status = 'queued' AND d.channel IN ('email', 'telegram')
        AND d.user_id > %(after)s AND d.user_id <= %(last)s
),

wanted AS MATERIALIZED (
    SELECT
        user_id, channel, period, window_start, window_end, concat_ws(':', user_id, channel, period, label) AS digest_key
    FROM waiting
    GROUP BY user_id, channel, period, window_start, window_end, label
),

fresh AS (
    INSERT INTO user_alert_digests (
        user_id, channel, period, window_start, window_end, digest_key, status, attempts, created_at
    )
    SELECT user_id, channel, period, window_start, window_end, digest_key, 'queued', 0, %(now)s
    FROM wanted
    ORDER BY user_id, channel
    ON CONFLICT DO NOTHING
    RETURNING id, user_id, channel
),

-- Digests that were there and have not left; once a request may have held one, it stays as it is.
reopened AS (
    SELECT g.id, wanted.user_id, wanted.channel
    FROM wanted
    LEFT JOIN fresh ON fresh.user_id = wanted.user_id AND fresh.channel = wanted.channel
    CROSS JOIN LATERAL (
        SELECT d.id
        FROM user_alert_digests AS d
        WHERE d.digest_key = wanted.digest_key AND d.status = 'queued' AND d.send_key IS NULL AND NOT d.adopted
        LIMIT 1
        FOR UPDATE
    ) AS g
    WHERE fresh.id IS NULL
),

marked AS (
    UPDATE user_alert_deliveries AS d
    SET status = 'skipped', failure_reason = 'batched_into_digest'
    FROM waiting
    JOIN (SELECT * FROM fresh UNION ALL SELECT * FROM reopened) AS g
        ON g.user_id = waiting.user_id AND g.channel = waiting.channel
    WHERE
        d.id = waiting.id
        AND d.sent_at IS NULL AND d.failure_reason IS NULL AND d.delivery_kind = 'digest' AND NOT d.adopted
        AND d.alert_event_id IS NOT NULL AND d.status = 'queued' AND d.user_id > %(after)s AND d.user_id <= %(last)s
    RETURNING g.id AS digest_id, d.id AS delivery_id
),

attached AS (
    INSERT INTO user_alert_digest_items (digest_id, delivery_id, created_at, exclusive)
    SELECT digest_id, delivery_id, %(now)s, true
    FROM marked
    ON CONFLICT DO NOTHING
    RETURNING 1
)

SELECT
    (SELECT count(*) FROM fresh) AS created,
    (SELECT count(*) FROM attached) AS attached,
    (SELECT count(*) FROM marked) AS marked;
