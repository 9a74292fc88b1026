-- Where rows were loaded with their ids, a sequence can be behind them. The engine's inserts would be
-- taken for duplicates then, and an alert lost without a word; so the sequences catch up.

DO $$
DECLARE
    owned record;
    highest bigint;
BEGIN
    FOR owned IN
        SELECT name, pg_get_serial_sequence(name, 'id')::regclass AS sequence
        FROM unnest(ARRAY[
            'alert_events', 'user_alert_deliveries', 'user_alert_digests', 'alerts_engine_runs', 'alerts_engine_run_items'
        ]) AS t (name)
    LOOP
        EXECUTE format('SELECT max(id) FROM %I', owned.name) INTO highest;
        IF highest > COALESCE(pg_sequence_last_value(owned.sequence), 0) THEN
            PERFORM setval(owned.sequence, highest);
        END IF;
    END LOOP;
END
$$;
