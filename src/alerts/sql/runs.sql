-- name: start_run
-- The record of a run that begins.
INSERT INTO alerts_engine_runs (
    run_id, phase, dry_run, triggered_by, started_at, status, git_sha, actor, rollout, created_at
) VALUES (
    %(run_id)s, %(phase)s, %(dry_run)s, %(triggered_by)s, %(started_at)s, 'running', %(git_sha)s, %(actor)s,
    %(rollout)s, %(started_at)s
)
ON CONFLICT DO NOTHING

-- name: finish_phase
-- The line of a phase in its run's record.
INSERT INTO alerts_engine_run_items (
    run_id, phase, started_at, finished_at, duration_ms, status, counts, error_summary
) VALUES (
    %(run_id)s, %(phase)s, %(started_at)s, %(finished_at)s, %(duration_ms)s, %(status)s, %(counts)s, %(error_summary)s
)
ON CONFLICT DO NOTHING

-- name: finish_run
-- How a run ended.
UPDATE alerts_engine_runs
SET finished_at = %(finished_at)s,
    duration_ms = %(duration_ms)s,
    status = %(status)s,
    counts = %(counts)s,
    error_summary = %(error_summary)s
WHERE run_id = %(run_id)s

-- name: unfinished_runs
-- Runs that have not said how they ended: alive, or gone.
SELECT run_id FROM alerts_engine_runs WHERE status = 'running' AND run_id <> %(own_run_id)s

-- name: close_run
-- A run that was gone before it could say how it ended.
UPDATE alerts_engine_runs
SET finished_at = %(now)s, status = 'failed', error_summary = %(error_summary)s
WHERE run_id = %(run_id)s AND status = 'running'

-- name: list_runs
-- The newest runs.
SELECT
    run_id, phase, COALESCE(dry_run, false) AS dry_run, triggered_by, actor, git_sha, started_at, finished_at,
    duration_ms, status, counts, error_summary, rollout
FROM alerts_engine_runs
WHERE started_at IS NOT NULL
ORDER BY started_at DESC, id DESC
LIMIT %(limit)s

-- name: run_by_id
-- One run.
SELECT
    run_id, phase, COALESCE(dry_run, false) AS dry_run, triggered_by, actor, git_sha, started_at, finished_at,
    duration_ms, status, counts, error_summary, rollout
FROM alerts_engine_runs
WHERE run_id = %(run_id)s

-- name: phases_of_run
-- The phases of a run, in the order in which they ran.
SELECT phase, started_at, finished_at, duration_ms, status, counts, error_summary
FROM alerts_engine_run_items
WHERE run_id = %(run_id)s
ORDER BY started_at, id
