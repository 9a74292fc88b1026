-- What makes a message unique (invariant I1). A database that has a unique constraint on these columns,
-- or on fewer of them, keeps it; one that has none gets an index on the engine's own rows only, so that
-- what other writers insert today is still accepted.

DO $$
DECLARE
    need record;
BEGIN
    FOR need IN
        SELECT *
        FROM (
            VALUES
            ('alert_events', ARRAY['cooldown_key'], NULL),
            ('alert_events', ARRAY['event_fingerprint'], NULL),
            (
                'user_alert_deliveries', ARRAY['alert_event_id', 'user_id', 'channel', 'delivery_kind'],
                'delivery_kind IN (''instant'', ''digest'') AND channel <> ''account'''
            ),
            ('user_alert_digests', ARRAY['digest_key'], NULL),
            ('user_alert_digest_items', ARRAY['delivery_id'], 'exclusive'),
            ('alerts_engine_runs', ARRAY['run_id'], NULL)
        ) AS n (table_name, columns, own_rows)
        WHERE NOT EXISTS (
            SELECT
            FROM pg_index AS i
            WHERE i.indrelid = to_regclass(n.table_name)
                AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                AND n.columns @> (
                    SELECT array_agg(a.attname::text)
                    FROM pg_attribute AS a
                    WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
                )
        )
    LOOP
        EXECUTE format(
            'CREATE UNIQUE INDEX IF NOT EXISTS %I ON %I (%s) %s',
            need.table_name || '_engine_' || need.columns[1] || '_key',
            need.table_name,
            (SELECT string_agg(quote_ident(c), ', ') FROM unnest(need.columns) AS c),
            COALESCE('WHERE ' || need.own_rows, '')
        );
    END LOOP;
END
$$;
