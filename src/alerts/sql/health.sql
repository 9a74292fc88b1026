-- name: deliveries
-- The last day's deliveries of the engine's channels and kinds, by status; each number is a range of an
-- index, so that its cost is that of counting. `batched`: gone into a digest. What was finished
-- without a reason is among what is open, and counted there.
SELECT c.channel, k.kind, n.status, n.number
FROM unnest(ARRAY['email', 'telegram', 'sms']) AS c (channel)
CROSS JOIN unnest(ARRAY['instant', 'digest']) AS k (kind)
CROSS JOIN LATERAL (
    SELECT 'sent' AS status, count(*) AS number
    FROM user_alert_deliveries AS d
    WHERE d.sent_at IS NOT NULL AND d.channel = c.channel AND d.delivery_kind = k.kind AND d.created_at > %(day_ago)s
    UNION ALL
    SELECT CASE WHEN d.failure_reason = ANY(%(skips)s::text[]) THEN 'skipped' ELSE 'failed' END, count(*)
    FROM user_alert_deliveries AS d
    WHERE d.failure_reason IS NOT NULL AND d.channel = c.channel AND d.delivery_kind = k.kind AND d.created_at > %(day_ago)s
    GROUP BY 1
) AS n
UNION ALL
SELECT c.channel, 'digest', 'batched', n.number
FROM unnest(ARRAY['email', 'telegram', 'sms']) AS c (channel)
CROSS JOIN LATERAL (
    SELECT count(*) AS number
    FROM user_alert_deliveries AS d
    WHERE d.channel = c.channel AND d.delivery_kind = 'digest'
        AND d.created_at > %(day_ago)s AND d.failure_reason = 'batched_into_digest'
) AS n
UNION ALL
SELECT channel, 'instant', status, count(*)
FROM user_alert_deliveries
WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'instant' AND NOT adopted
    AND alert_event_id IS NOT NULL AND created_at > %(day_ago)s
GROUP BY channel, status
UNION ALL
SELECT channel, 'digest', 'queued', count(*)
FROM user_alert_deliveries
WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'digest' AND NOT adopted
    AND alert_event_id IS NOT NULL AND created_at > %(day_ago)s
GROUP BY channel

-- name: digests
-- The last week's digests, in the same way.
SELECT c.channel, 'digest' AS kind, s.status, n.number
FROM unnest(ARRAY['email', 'telegram']) AS c (channel)
CROSS JOIN unnest(ARRAY['queued', 'sending', 'sent', 'failed', 'skipped']) AS s (status)
CROSS JOIN LATERAL (
    SELECT count(*) AS number
    FROM user_alert_digests AS d
    WHERE d.status = s.status AND d.channel = c.channel AND d.created_at > %(week_ago)s
) AS n

-- name: waiting
-- What is queued: held by the allowlist or a channel that is not configured, or due. Digests in a request of
-- unknown outcome are looked up apart, so that each part has its index.
WITH queued AS (
    SELECT 'deliveries' AS queue, channel, user_id, created_at, next_retry_at
    FROM user_alert_deliveries
    WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'instant' AND NOT adopted
        AND status = 'queued' AND channel IN ('email', 'telegram', 'sms') AND alert_event_id IS NOT NULL
    UNION ALL
    SELECT 'digests', channel, user_id, created_at, next_retry_at
    FROM user_alert_digests
    WHERE status = 'queued' AND send_key IS NULL AND NOT adopted
    UNION ALL
    SELECT 'digests', channel, user_id, created_at, next_retry_at
    FROM user_alert_digests
    WHERE status = 'queued' AND send_key IS NOT NULL AND NOT adopted
)

SELECT
    queue,
    count(*) FILTER (WHERE NOT let_out) AS held,
    min(created_at) FILTER (WHERE due) AS oldest_at,
    min(GREATEST(created_at, next_retry_at)) FILTER (WHERE due) AS due_since
FROM (
    SELECT queue, created_at, next_retry_at, let_out, let_out AND COALESCE(next_retry_at <= %(now)s, true) AS due
    FROM queued
    CROSS JOIN LATERAL (
        SELECT channel = ANY(%(channels)s::text[])
            AND (%(allowed)s::bigint[] IS NULL OR user_id = ANY(%(allowed)s::bigint[])) AS let_out
    ) AS gate
) AS judged
GROUP BY queue

-- name: stuck
-- Claimed longer ago than any request takes, and no run has picked them up.
SELECT (
    SELECT count(*)
    FROM user_alert_deliveries
    WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'instant' AND NOT adopted
        AND status = 'sending' AND channel IN ('email', 'telegram', 'sms') AND alert_event_id IS NOT NULL
        AND COALESCE(claimed_at, created_at) < %(stuck_before)s
) + (
    SELECT count(*)
    FROM user_alert_digests
    WHERE status = 'sending' AND NOT adopted AND COALESCE(claimed_at, created_at) < %(stuck_before)s
)

-- name: last_run
-- The newest run that has ended and did something; one that was killed counts once the next has closed it.
SELECT run_id, phase, status, triggered_by, started_at, duration_ms, counts
FROM alerts_engine_runs
WHERE started_at IS NOT NULL AND status NOT IN ('running', 'skipped', 'disabled') AND dry_run IS NOT TRUE
ORDER BY started_at DESC
LIMIT 1

-- name: schedule
-- When a run last began, and when one last succeeded.
SELECT
    (SELECT max(started_at) FROM alerts_engine_runs) AS last_started_at,
    (
        SELECT COALESCE(finished_at, started_at)
        FROM alerts_engine_runs
        WHERE started_at IS NOT NULL AND status = 'success' AND dry_run IS NOT TRUE
        ORDER BY started_at DESC
        LIMIT 1
    ) AS last_success_at

-- name: sent_lately
-- Whether the engine has sent anything lately, by its record or by the messages; asked for when it matters.
-- An instant is made after its event, and sent within %(max_age)s of it.
SELECT
    EXISTS (
        SELECT
        FROM alerts_engine_runs
        WHERE started_at > %(day_ago)s AND finished_at > %(lately)s
            AND CASE WHEN jsonb_typeof(counts -> 'sent') = 'number' THEN (counts ->> 'sent')::numeric > 0 END
    )
    OR EXISTS (
        SELECT
        FROM user_alert_deliveries
        WHERE sent_at IS NOT NULL AND channel IN ('email', 'telegram', 'sms') AND delivery_kind = 'instant'
            AND created_at > %(lately)s - %(max_age)s AND sent_at > %(lately)s
    )
    OR EXISTS (
        SELECT
        FROM user_alert_digests
        WHERE status = 'sent' AND channel IN ('email', 'telegram') AND created_at > %(week_ago)s AND sent_at > %(lately)s
    )
