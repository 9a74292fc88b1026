-- name: server
-- What kind of server this is.
SELECT
    current_setting('server_version_num')::integer AS version,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only

-- name: sequences
-- Tables with rows beyond their sequence: an insert there would be taken for a duplicate.
SELECT COALESCE(array_agg(name), '{}')
FROM (
    SELECT 'alert_events' AS name, max(id) AS highest FROM alert_events
    UNION ALL
    SELECT 'user_alert_deliveries', max(id) FROM user_alert_deliveries
    UNION ALL
    SELECT 'user_alert_digests', max(id) FROM user_alert_digests
    UNION ALL
    SELECT 'alerts_engine_runs', max(id) FROM alerts_engine_runs
    UNION ALL
    SELECT 'alerts_engine_run_items', max(id) FROM alerts_engine_run_items
) AS t
CROSS JOIN LATERAL (SELECT pg_get_serial_sequence(name, 'id') AS sequence) AS s
WHERE CASE WHEN has_sequence_privilege(sequence, 'USAGE')
    THEN highest > COALESCE(pg_sequence_last_value(sequence::regclass), 0) END

-- name: audience
-- How many users there are, how many of them the run may reach, and which of the allowed are none.
SELECT
    count(*) AS total,
    count(*) FILTER (WHERE %(allowed)s::bigint[] IS NULL OR id = ANY(%(allowed)s::bigint[])) AS eligible,
    ARRAY(
        SELECT wanted.id
        FROM unnest(%(allowed)s::bigint[]) AS wanted (id)
        WHERE NOT EXISTS (SELECT FROM users AS u WHERE u.id = wanted.id)
        ORDER BY wanted.id
    ) AS unknown
FROM users

-- name: reached
-- The most messages that one of the last ten live runs with any sent; the last thousand runs are looked at.
SELECT COALESCE(max(sent), 0)
FROM (
    SELECT sent
    FROM (
        SELECT
            started_at,
            CASE WHEN jsonb_typeof(counts -> 'sent') = 'number' THEN (counts ->> 'sent')::numeric ELSE 0 END AS sent
        FROM alerts_engine_runs
        WHERE started_at IS NOT NULL AND dry_run IS NOT TRUE
        ORDER BY started_at DESC
        LIMIT 1000
    ) AS recent
    WHERE sent > 0
    ORDER BY started_at DESC
    LIMIT 10
) AS senders

-- name: try_lock
-- Take a lock that another connection holds: must fail. Asked twice, one server process has to answer.
SELECT pg_backend_pid() AS backend, pg_try_advisory_xact_lock(%(key)s) AS taken
