-- No index holds, or asks about, what a claim changes: the status, the run, the key. So a claim writes a row
-- and no index (a HOT update), if there is room on the row's page; sending is hardly slower beside millions of
-- sent rows (benchmarks/RESULTS.md). What is made comes first, and what it replaces goes last: readers of the table wait only then.

ALTER TABLE user_alert_deliveries SET (fillfactor = 50);
ALTER TABLE user_alert_deliveries VALIDATE CONSTRAINT user_alert_deliveries_open_check;

-- Phase C: instants in sending order, with the few that are under way or of unknown outcome.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_open_idx ON user_alert_deliveries (channel, priority DESC NULLS LAST, id)
    WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'instant' AND NOT adopted;

-- Phase D and health: what waits for a digest.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_waiting_idx ON user_alert_deliveries (user_id, channel, id)
    INCLUDE (created_at)
    WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'digest' AND NOT adopted;

-- Health and dashboard: what was sent, and what was not and why, counted from the index alone.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_sent_idx ON user_alert_deliveries (channel, delivery_kind, created_at)
    WHERE sent_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS user_alert_deliveries_unsent_idx
    ON user_alert_deliveries (channel, delivery_kind, created_at, failure_reason)
    WHERE failure_reason IS NOT NULL;

-- Adoption: what other software left unsent, counted by preflight.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_left_idx ON user_alert_deliveries (id) WHERE adopted AND sent_at IS NULL;

DROP INDEX IF EXISTS
    user_alert_deliveries_due_idx, user_alert_deliveries_unknown_idx, user_alert_deliveries_sending_idx,
    user_alert_deliveries_digest_idx, user_alert_deliveries_finished_idx, user_alert_deliveries_adopted_idx;
