-- A CHECK of an older database that refuses a word the engine writes is replaced by one that allows what
-- it allowed and what the engine writes; a CHECK that the product's tables have everywhere else is added
-- where it is missing. NOT VALID: no scan while the table is locked (0005 makes up for it).

DO $$
DECLARE
    rule record;
    admitted boolean;
BEGIN
    FOR rule IN
        SELECT
            c.conname,
            c.conrelid::regclass AS relation,
            need.column_name,
            need.words,
            pg_get_expr(c.conbin, c.conrelid) AS expression
        FROM (
            VALUES
            ('alert_events', 'alert_type', ARRAY['HIGH_IMPACT_EVENT', 'REGIONAL_RISK_SPIKE', 'ASSET_RISK_SPIKE']),
            ('user_alert_deliveries', 'status', ARRAY['queued', 'sending', 'sent', 'failed', 'skipped']),
            ('user_alert_deliveries', 'channel', ARRAY['email', 'telegram', 'sms', 'account']),
            ('user_alert_deliveries', 'delivery_kind', ARRAY['instant', 'digest']),
            ('user_alert_digests', 'status', ARRAY['queued', 'sending', 'sent', 'failed', 'skipped']),
            ('user_alert_digests', 'channel', ARRAY['email', 'telegram']),
            ('user_alert_digests', 'period', ARRAY['daily', 'hourly']),
            ('alerts_engine_runs', 'phase', ARRAY['a', 'b', 'c', 'd', 'all']),
            ('alerts_engine_runs', 'status', ARRAY['running', 'success', 'failed', 'interrupted', 'disabled', 'skipped']),
            ('alerts_engine_run_items', 'phase', ARRAY['a', 'b', 'c', 'd']),
            ('alerts_engine_run_items', 'status', ARRAY['running', 'success', 'failed', 'interrupted', 'disabled', 'skipped'])
        ) AS need (table_name, column_name, words)
        JOIN pg_constraint AS c ON c.conrelid = to_regclass(need.table_name) AND c.contype = 'c'
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attname = need.column_name AND c.conkey = ARRAY[a.attnum]
    LOOP
        EXECUTE format('SELECT bool_and(%s) FROM unnest($1) AS t (%I)', rule.expression, rule.column_name)
            INTO admitted USING rule.words;
        IF NOT admitted THEN
            EXECUTE format(
                'ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I CHECK ((%s) OR %I = ANY (%L::text[])) NOT VALID',
                rule.relation, rule.conname, rule.conname, rule.expression, rule.column_name, rule.words
            );
        END IF;
    END LOOP;

    FOR rule IN
        SELECT need.*
        FROM (
            VALUES
            ('alert_events', 'severity', '1', 'severity BETWEEN 1 AND 5'),
            ('user_alert_deliveries', 'status', 'queued', $c$status IN ('queued', 'sending', 'sent', 'failed', 'skipped')$c$),
            ('user_alert_deliveries', 'channel', 'email', $c$channel IN ('email', 'telegram', 'sms', 'account')$c$),
            ('user_alert_digests', 'status', 'queued', $c$status IN ('queued', 'sending', 'sent', 'failed', 'skipped')$c$),
            ('user_alert_digests', 'channel', 'email', $c$channel IN ('email', 'telegram')$c$),
            ('user_alert_digests', 'period', 'daily', $c$period IN ('daily', 'hourly')$c$)
        ) AS need (table_name, column_name, sign, condition)
        WHERE NOT EXISTS (
            SELECT
            FROM pg_constraint AS c
            JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
            WHERE c.conrelid = to_regclass(need.table_name) AND c.contype = 'c'
                AND a.attname = need.column_name AND strpos(pg_get_constraintdef(c.oid), need.sign) > 0
        )
    LOOP
        EXECUTE format('ALTER TABLE %I ADD CHECK (%s) NOT VALID', rule.table_name, rule.condition);
    END LOOP;
END
$$;
