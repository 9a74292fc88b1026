-- The indexes of open rows hold those of an event only, as the engine's all are. What other software keeps in the
-- table without one would stay in them for ever, finished or not, since it gives its reasons elsewhere.

CREATE INDEX user_alert_deliveries_open_new_idx ON user_alert_deliveries (channel, priority DESC NULLS LAST, id)
    WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'instant' AND NOT adopted
        AND alert_event_id IS NOT NULL;
CREATE INDEX user_alert_deliveries_waiting_new_idx ON user_alert_deliveries (user_id, channel, id)
    INCLUDE (created_at)
    WHERE sent_at IS NULL AND failure_reason IS NULL AND delivery_kind = 'digest' AND NOT adopted
        AND alert_event_id IS NOT NULL;

DROP INDEX IF EXISTS user_alert_deliveries_open_idx, user_alert_deliveries_waiting_idx;
ALTER INDEX user_alert_deliveries_open_new_idx RENAME TO user_alert_deliveries_open_idx;
ALTER INDEX user_alert_deliveries_waiting_new_idx RENAME TO user_alert_deliveries_waiting_idx;
