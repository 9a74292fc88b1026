-- name: failed_deliveries
-- Instants that failed and were made since then; `refusal` says why one is left alone. The index of what failed
-- knows a row by its reason; what other software left without one is in the index of open rows.
SELECT
    d.id, d.channel, d.failure_reason,
    CASE
        WHEN COALESCE(d.failure_reason <> ALL(%(transient)s::text[]), true) THEN COALESCE(d.failure_reason, 'unknown')
        WHEN e.created_at < %(oldest)s THEN 'expired'
        WHEN d.user_id <> ALL(%(allowed)s::bigint[]) THEN 'outside_allowlist'
    END AS refusal
FROM user_alert_deliveries AS d
JOIN alert_events AS e ON e.id = d.alert_event_id
WHERE d.status = 'failed' AND d.delivery_kind = 'instant'
    AND (d.failure_reason IS NOT NULL OR (d.failure_reason IS NULL AND d.sent_at IS NULL))
    AND d.channel IN ('email', 'telegram', 'sms') AND NOT d.adopted AND d.alert_event_id IS NOT NULL
    AND d.created_at >= %(since)s

-- name: failed_digests
-- The same for digests, which expire three windows late.
SELECT
    d.id, d.channel, d.failure_reason,
    CASE
        WHEN COALESCE(d.failure_reason <> ALL(%(transient)s::text[]), true) THEN COALESCE(d.failure_reason, 'unknown')
        WHEN d.window_end + 3 * (d.window_end - d.window_start) < %(now)s THEN 'expired'
        WHEN d.user_id <> ALL(%(allowed)s::bigint[]) THEN 'outside_allowlist'
    END AS refusal
FROM user_alert_digests AS d
WHERE d.status = 'failed' AND d.channel IN ('email', 'telegram') AND NOT d.adopted AND d.created_at >= %(since)s

-- name: count
-- How many of what, by the reason of their failure or the reason to leave them.
SELECT channel, failure_reason, refusal, count(*) AS count
FROM ({failed}) AS failed
GROUP BY channel, failure_reason, refusal
ORDER BY channel, failure_reason, refusal

-- name: requeue
-- A chunk of them as if never tried. A key stays where there is one: its request may have gone out, and phase C repeats it.
UPDATE {table} AS d
SET status = 'queued', attempts = 0, next_retry_at = NULL, failure_reason = NULL, sent_at = NULL, claimed_by = NULL,
    claimed_at = NULL
WHERE d.status = 'failed'
    AND d.id IN (SELECT id FROM ({failed}) AS failed WHERE refusal IS NULL ORDER BY id LIMIT %(chunk)s)
