-- name: hours
-- What phase C did, by the hour in which its run began. Taken from the run history, which is small; what
-- other software may have left there in another shape counts as nothing.
SELECT
    date_trunc('hour', r.started_at) AS start,
    c.channel,
    sum(CASE WHEN jsonb_typeof(c.counts -> 'sent') = 'number' THEN (c.counts ->> 'sent')::numeric ELSE 0 END)::bigint AS sent,
    sum(CASE WHEN jsonb_typeof(c.counts -> 'failed') = 'number' THEN (c.counts ->> 'failed')::numeric ELSE 0 END)::bigint
    AS failed
FROM alerts_engine_runs AS r
JOIN alerts_engine_run_items AS i ON i.run_id = r.run_id AND i.phase = 'c'
CROSS JOIN LATERAL jsonb_each(
    CASE WHEN jsonb_typeof(i.counts -> 'by_channel') = 'object' THEN i.counts -> 'by_channel' ELSE '{}' END
) AS c (channel, counts)
WHERE r.started_at >= %(since)s AND c.channel IN ('email', 'telegram', 'sms')
GROUP BY 1, 2

-- name: failures
-- Messages made since then that failed, alike ones together, the latest first.
SELECT queue, channel, reason, detail, count(*) AS count, max(last_at) AS last_at
FROM (
    SELECT
        'deliveries' AS queue, channel, COALESCE(failure_reason, 'unknown') AS reason, last_error AS detail,
        COALESCE(claimed_at, created_at) AS last_at
    FROM user_alert_deliveries
    WHERE (failure_reason IS NOT NULL OR (failure_reason IS NULL AND sent_at IS NULL))
        AND status = 'failed' AND created_at >= %(since)s AND NOT adopted AND delivery_kind = 'instant'
        AND alert_event_id IS NOT NULL AND channel IN ('email', 'telegram', 'sms')
    UNION ALL
    SELECT 'digests', channel, COALESCE(failure_reason, 'unknown'), last_error, COALESCE(claimed_at, created_at)
    FROM user_alert_digests
    WHERE status = 'failed' AND channel IN ('email', 'telegram') AND created_at >= %(since)s AND NOT adopted
) AS failed
GROUP BY queue, channel, reason, detail
ORDER BY last_at DESC, queue, channel, reason, detail
LIMIT 20
