-- Indexes on deliveries. They are built in the migration's transaction (one transaction each is the rule
-- of the ledger): on a database in use, readers go on and writers to this table wait until it commits.

-- Phase B: instants of a user's day (quota).
CREATE INDEX IF NOT EXISTS user_alert_deliveries_quota_idx ON user_alert_deliveries (user_id, channel, created_at)
    WHERE delivery_kind = 'instant' AND status IN ('queued', 'sending', 'sent');

-- Phase C: the queue in sending order, without the rows whose outcome is unknown; those; and what a run
-- that is gone left claimed.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_due_idx ON user_alert_deliveries (channel, priority DESC NULLS LAST, id)
    WHERE status = 'queued' AND delivery_kind = 'instant' AND send_key IS NULL AND NOT adopted;
CREATE INDEX IF NOT EXISTS user_alert_deliveries_unknown_idx ON user_alert_deliveries (channel, send_key)
    WHERE status = 'queued' AND send_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS user_alert_deliveries_sending_idx ON user_alert_deliveries (id) WHERE status = 'sending';

-- Phase D: what waits for a digest.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_digest_idx ON user_alert_deliveries (user_id, channel, id)
    WHERE status = 'queued' AND delivery_kind = 'digest' AND NOT adopted;

-- Health: the last day by status, counted from the index alone.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_day_idx
    ON user_alert_deliveries (status, channel, delivery_kind, created_at, failure_reason);

-- Adoption: what was left unsent, counted by preflight.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_adopted_idx ON user_alert_deliveries (id)
    WHERE adopted AND status IN ('queued', 'sending');
