-- A delivery changes its status twice on its way, and each change writes to every index that holds the row.
-- So those that hold it only for counting hold it only once it is finished, and the places of a day are
-- counted through the unique index, event by event (fanout.sql, `taken`). See 0007 for what building means
-- to others.

DROP INDEX IF EXISTS user_alert_deliveries_quota_idx;

-- Health and dashboard: what was finished, by status, counted from the index alone.
DROP INDEX IF EXISTS user_alert_deliveries_day_idx;
CREATE INDEX IF NOT EXISTS user_alert_deliveries_finished_idx
    ON user_alert_deliveries (status, channel, delivery_kind, created_at, failure_reason)
    WHERE status IN ('sent', 'failed', 'skipped');

-- Phase D, as before, and health: what waits for a digest, counted from the index alone.
DROP INDEX IF EXISTS user_alert_deliveries_digest_idx;
CREATE INDEX IF NOT EXISTS user_alert_deliveries_digest_idx ON user_alert_deliveries (user_id, channel, id)
    INCLUDE (created_at)
    WHERE status = 'queued' AND delivery_kind = 'digest' AND NOT adopted;
