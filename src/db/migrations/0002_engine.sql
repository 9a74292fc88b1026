-- What the engine keeps beyond the columns that other software reads, and its indexes.
--
-- A row whose `send_key` is set was in a request of unknown outcome under that idempotency key; rows
-- with the same key went out in one request. `priority` is the event's severity, copied so that the
-- claim walks an index in sending order.

ALTER TABLE user_alert_deliveries
    ADD COLUMN IF NOT EXISTS priority smallint,
    ADD COLUMN IF NOT EXISTS send_key uuid,
    ADD COLUMN IF NOT EXISTS send_key_at timestamptz,
    ADD COLUMN IF NOT EXISTS send_provider text;

ALTER TABLE user_alert_digests
    ADD COLUMN IF NOT EXISTS send_key uuid,
    ADD COLUMN IF NOT EXISTS send_key_at timestamptz,
    ADD COLUMN IF NOT EXISTS send_provider text;

-- Rows of interest, one look-up per user.
CREATE INDEX IF NOT EXISTS user_alert_prefs_user_idx ON user_alert_prefs (user_id);

-- Phase A: the newest index of each region and asset, the newest news.
CREATE INDEX IF NOT EXISTS risk_indices_latest_idx ON risk_indices (window_days, region, calculated_at DESC);
CREATE INDEX IF NOT EXISTS asset_risk_latest_idx ON asset_risk (window_days, asset, calculated_at DESC);
CREATE INDEX IF NOT EXISTS events_inserted_idx ON events (inserted_at);

-- Phase B: events that wait for their fan-out.
CREATE INDEX IF NOT EXISTS alert_events_open_idx ON alert_events (created_at) WHERE fanout_completed_at IS NULL;

-- Phase B: instants of a user's day (quota).
CREATE INDEX IF NOT EXISTS user_alert_deliveries_quota_idx ON user_alert_deliveries (user_id, channel, created_at)
    WHERE delivery_kind = 'instant' AND status IN ('queued', 'sending', 'sent');

-- Phase C: the queue in sending order, without the rows whose outcome is unknown.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_due_idx ON user_alert_deliveries (channel, priority DESC NULLS LAST, id)
    WHERE status = 'queued' AND delivery_kind = 'instant' AND send_key IS NULL;
CREATE INDEX IF NOT EXISTS user_alert_digests_due_idx ON user_alert_digests (channel, id)
    WHERE status = 'queued' AND send_key IS NULL;

-- Phase C: requests of unknown outcome, and what a run that is gone left claimed.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_unknown_idx ON user_alert_deliveries (channel, send_key)
    WHERE status IN ('queued', 'sending') AND send_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS user_alert_digests_unknown_idx ON user_alert_digests (channel, send_key)
    WHERE status IN ('queued', 'sending') AND send_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS user_alert_deliveries_sending_idx ON user_alert_deliveries (id) WHERE status = 'sending';
CREATE INDEX IF NOT EXISTS user_alert_digests_sending_idx ON user_alert_digests (id) WHERE status = 'sending';

-- Phase D: what waits for a digest.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_digest_idx ON user_alert_deliveries (user_id, channel, id)
    WHERE status = 'queued' AND delivery_kind = 'digest';
CREATE INDEX IF NOT EXISTS user_alert_digest_items_digest_idx ON user_alert_digest_items (digest_id);

-- Health: the last day at a glance.
CREATE INDEX IF NOT EXISTS user_alert_deliveries_created_idx ON user_alert_deliveries (created_at);
CREATE INDEX IF NOT EXISTS user_alert_digests_created_idx ON user_alert_digests (created_at);
CREATE INDEX IF NOT EXISTS alerts_engine_runs_started_idx ON alerts_engine_runs (started_at DESC);
CREATE INDEX IF NOT EXISTS alerts_engine_run_items_run_idx ON alerts_engine_run_items (run_id);
