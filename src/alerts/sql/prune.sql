-- Growth: finished rows go, a chunk of ids at a time.

-- name: last_id
-- Where a table ends now; rows that come later are not old.
SELECT COALESCE(max(id), 0) FROM {table};

-- name: chunk_end
-- The last id of the next chunk.
SELECT max(id) FROM (SELECT id FROM {table} WHERE id > %(after)s ORDER BY id LIMIT %(limit)s) AS chunk;

-- name: digests
-- Digests that are done, and with them what they hold.
WITH old AS (
    SELECT id
    FROM user_alert_digests
    WHERE
        id > %(after)s AND id <= %(last)s AND status IN ('sent', 'failed', 'skipped') AND created_at < %(before)s
        AND COALESCE(sent_at, created_at) < %(before)s
    FOR UPDATE
),

items AS (
    DELETE FROM user_alert_digest_items WHERE digest_id IN (SELECT id FROM old)
)

DELETE FROM user_alert_digests WHERE id IN (SELECT id FROM old);

-- name: deliveries
-- Deliveries that are done and that no digest refers to. Those of an event that may be fanned out (again)
-- stay: they are what keeps it from reaching somebody twice.
DELETE FROM user_alert_deliveries AS d
USING alert_events AS e
WHERE
    d.id > %(after)s AND d.id <= %(last)s AND d.status IN ('sent', 'failed', 'skipped') AND d.created_at < %(before)s
    AND COALESCE(d.sent_at, d.created_at) < %(before)s
    AND d.delivery_kind IN ('instant', 'digest') AND d.channel <> 'account'
    AND e.id = d.alert_event_id AND (e.fanout_waived OR (e.fanout_completed_at IS NOT NULL AND e.fanout_scope = 'all'))
    AND NOT EXISTS (SELECT FROM user_alert_digest_items AS i WHERE i.delivery_id = d.id);

-- name: runs
-- Records of runs that have ended; the newest stays, whatever its age.
WITH old AS (
    SELECT run_id
    FROM alerts_engine_runs
    WHERE
        id > %(after)s AND id <= %(last)s AND status <> 'running' AND started_at < %(before)s
        AND id < (SELECT max(id) FROM alerts_engine_runs)
),

items AS (
    DELETE FROM alerts_engine_run_items WHERE run_id IN (SELECT run_id FROM old)
)

DELETE FROM alerts_engine_runs WHERE run_id IN (SELECT run_id FROM old);
