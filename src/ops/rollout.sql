-- The guarded rollout: whom it may reach, whether it touched anybody else, and what became of earlier ones.

-- name: unknown_users
-- Ids that are no users.
SELECT wanted.id
FROM unnest(%(ids)s::bigint[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM users AS u WHERE u.id = wanted.id)
ORDER BY wanted.id

-- name: plan_exists
-- Whether there is such a plan, and it is active.
SELECT count(*) FROM plan_settings WHERE plan_code = %(plan)s AND is_active

-- name: share
-- Users of a plan (null: of any; without an active plan a user is on free), of them those in the lowest part of
-- a hash: an id always falls in the same place, so that a larger share holds the smaller one.
SELECT u.id
FROM users AS u
LEFT JOIN user_plans AS up ON u.id = up.user_id
LEFT JOIN plan_settings AS p ON up.plan = p.plan_code AND p.is_active
WHERE
    (%(plan)s::text IS NULL OR COALESCE(p.plan_code, 'free') = %(plan)s)
    AND (%(allowed)s::bigint[] IS NULL OR u.id = ANY(%(allowed)s::bigint[]))
    AND ('x' || encode(substr(sha256(convert_to(%(salt)s || ':' || u.id, 'UTF8')), 1, 4), 'hex'))::bit(32)::bigint
    < %(percent)s::numeric / 100 * 4294967296
ORDER BY u.id
LIMIT %(limit)s

-- name: phases_on_record
-- How many phases of a run are on record.
SELECT count(*) FROM alerts_engine_run_items WHERE run_id = %(run_id)s

-- name: foreign_rows
-- Rows of others than the chosen that a run claimed, or that came into being while it held the lock of the
-- phase that creates them.
WITH items AS (
    SELECT phase, started_at, finished_at FROM alerts_engine_run_items WHERE run_id = %(run_id)s AND status <> 'skipped'
)

SELECT 'delivery' AS kind, d.id, d.user_id
FROM user_alert_deliveries AS d
WHERE
    d.user_id <> ALL(%(chosen)s::bigint[])
    AND (
        d.claimed_by = %(run_id)s
        OR d.channel IN ('email', 'telegram', 'sms') AND d.delivery_kind IN ('instant', 'digest')
        AND EXISTS (SELECT FROM items WHERE items.phase = 'b' AND d.created_at BETWEEN items.started_at AND items.finished_at)
    )
UNION ALL
SELECT 'digest' AS kind, g.id, g.user_id
FROM user_alert_digests AS g
WHERE
    g.user_id <> ALL(%(chosen)s::bigint[])
    AND (
        g.claimed_by = %(run_id)s
        OR EXISTS (SELECT FROM items WHERE items.phase = 'd' AND g.created_at BETWEEN items.started_at AND items.finished_at)
    )
ORDER BY kind, id
LIMIT 20

-- name: record
-- What the run was a rollout of, and whether it touched nobody else.
UPDATE alerts_engine_runs
SET rollout = COALESCE(rollout, '{}'::jsonb) || %(outcome)s::jsonb
WHERE run_id = %(run_id)s

-- name: history
-- The newest rollouts.
SELECT run_id, started_at, actor, git_sha, status, counts, rollout
FROM alerts_engine_runs
WHERE rollout ? 'requested'
ORDER BY started_at DESC, id DESC
LIMIT %(limit)s
