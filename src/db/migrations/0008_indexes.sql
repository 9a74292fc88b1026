-- Indexes on the other tables; see 0007 for what building them means to others.

-- Rows of interest, one look-up per user.
CREATE INDEX IF NOT EXISTS user_alert_prefs_user_idx ON user_alert_prefs (user_id);

-- Phase A: the newest index of each region and asset, the newest news.
CREATE INDEX IF NOT EXISTS risk_indices_latest_idx ON risk_indices (window_days, region, calculated_at DESC);
CREATE INDEX IF NOT EXISTS asset_risk_latest_idx ON asset_risk (window_days, asset, calculated_at DESC);
CREATE INDEX IF NOT EXISTS events_inserted_idx ON events (inserted_at);

-- Phase B: events that wait for their fan-out.
CREATE INDEX IF NOT EXISTS alert_events_open_idx ON alert_events (created_at)
    WHERE fanout_completed_at IS NULL AND NOT fanout_waived;

-- Phase D: what is in a digest.
CREATE INDEX IF NOT EXISTS user_alert_digest_items_digest_idx ON user_alert_digest_items (digest_id);

-- And the way back, where no unique constraint leads it: else each deleted delivery reads the whole table.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_index AS i
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = 'user_alert_digest_items'::regclass AND i.indisvalid AND i.indpred IS NULL
            AND a.attname = 'delivery_id'
    ) THEN
        CREATE INDEX user_alert_digest_items_delivery_idx ON user_alert_digest_items (delivery_id);
    END IF;
END
$$;

-- Phase C, as for deliveries.
CREATE INDEX IF NOT EXISTS user_alert_digests_due_idx ON user_alert_digests (channel, id)
    WHERE status = 'queued' AND send_key IS NULL AND NOT adopted;
CREATE INDEX IF NOT EXISTS user_alert_digests_unknown_idx ON user_alert_digests (channel, send_key)
    WHERE status = 'queued' AND send_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS user_alert_digests_sending_idx ON user_alert_digests (id) WHERE status = 'sending';

-- Health and run history.
CREATE INDEX IF NOT EXISTS user_alert_digests_week_idx ON user_alert_digests (status, channel, created_at);
CREATE INDEX IF NOT EXISTS alerts_engine_runs_started_idx ON alerts_engine_runs (started_at DESC);
CREATE INDEX IF NOT EXISTS alerts_engine_run_items_run_idx ON alerts_engine_run_items (run_id);

-- Adoption, as for deliveries.
CREATE INDEX IF NOT EXISTS user_alert_digests_adopted_idx ON user_alert_digests (id)
    WHERE adopted AND status IN ('queued', 'sending');
