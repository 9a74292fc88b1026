-- name: old_messages
-- Messages that were queued or under way when the engine took over.
SELECT
    count(*) FILTER (WHERE status = 'queued') AS queued,
    count(*) FILTER (WHERE status = 'sending') AS sending
FROM {table}
WHERE status IN ('queued', 'sending') AND channel IN ('email', 'telegram', 'sms') AND {old}

-- name: release_deliveries
-- The engine may have them, except those that are in a digest already. What goes into a digest is queued until then,
-- and never sending.
UPDATE user_alert_deliveries AS d
SET adopted = false, attempts = COALESCE(attempts, 0), failure_reason = NULL,
    status = CASE WHEN delivery_kind = 'digest' THEN 'queued' ELSE status END
WHERE adopted AND sent_at IS NULL AND status IN ('queued', 'sending') AND channel IN ('email', 'telegram', 'sms')
    AND delivery_kind IN ('instant', 'digest') AND alert_event_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM user_alert_digest_items AS i WHERE i.delivery_id = d.id)

-- name: release_digests
-- The same for digests.
UPDATE user_alert_digests
SET adopted = false, attempts = COALESCE(attempts, 0)
WHERE adopted AND sent_at IS NULL AND status IN ('queued', 'sending')

-- name: duplicates
-- Rows that stand in each other's way where a unique index is to be, the one to keep first.
SELECT array_agg(id ORDER BY {keep}) AS ids
FROM {table}
WHERE ({columns}) IS NOT NULL AND {own_rows}
GROUP BY {columns}
HAVING count(*) > 1
ORDER BY min(id)
LIMIT %(limit)s
