-- An open delivery, queued or being sent, has neither been sent nor a reason why not; what is finished has the
-- one or the other. The indexes of 0012 go by that, not by the status. So whoever queues one again by hand has
-- to clear both, or phase C would not find it; the constraint says so. How others mark what they have finished
-- is not its business.

UPDATE user_alert_deliveries
SET failure_reason = NULL, sent_at = NULL
WHERE status IN ('queued', 'sending') AND (failure_reason IS NOT NULL OR sent_at IS NOT NULL)
    AND NOT adopted AND delivery_kind IN ('instant', 'digest') AND channel <> 'account' AND alert_event_id IS NOT NULL;

ALTER TABLE user_alert_deliveries ADD CONSTRAINT user_alert_deliveries_open_check CHECK (
    status NOT IN ('queued', 'sending') OR (sent_at IS NULL AND failure_reason IS NULL)
    OR adopted OR delivery_kind NOT IN ('instant', 'digest') OR channel = 'account' OR alert_event_id IS NULL
) NOT VALID;
