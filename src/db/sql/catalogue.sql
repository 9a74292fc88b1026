-- name: catalogue
-- What the catalogue says of the relations that the engine uses, one row each.
SELECT
    wanted.name,
    c.oid IS NOT NULL AS present,
    COALESCE((
        SELECT jsonb_object_agg(a.attname, format_type(
            (SELECT COALESCE(NULLIF(t.typbasetype, 0), t.oid) FROM pg_type AS t WHERE t.oid = a.atttypid), NULL
        ))
        FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ), '{}') AS columns,
    ARRAY(
        SELECT a.attname::text
        FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
        ORDER BY a.attnum
    ) AS must_be_given,
    COALESCE((
        SELECT jsonb_agg(jsonb_build_object('column', a.attname, 'definition', pg_get_constraintdef(k.oid)))
        FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
        WHERE k.conrelid = c.oid AND k.contype = 'c'
    ), '[]') AS checks,
    ARRAY(
        SELECT k.conname::text FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated
    ) AS constraints,
    COALESCE((
        SELECT jsonb_agg(jsonb_build_object(
            'name', i.indexrelid::regclass::text,
            'partial', i.indpred IS NOT NULL,
            'columns', (
                SELECT jsonb_agg(a.attname)
                FROM pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
            )
        ))
        FROM pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indexprs IS NULL
    ), '[]') AS uniques,
    ARRAY(
        SELECT a.attname::text
        FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
        WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid = to_regclass('users')
    ) AS user_columns,
    ARRAY(
        SELECT privilege
        FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS privilege
        WHERE has_table_privilege(c.oid, privilege)
            -- of the product's own table one column is written
            OR wanted.name = 'users' AND privilege = 'UPDATE' AND has_any_column_privilege(c.oid, privilege)
    ) AS privileges
FROM unnest(%(names)s::text[]) AS wanted (name)
LEFT JOIN pg_class AS c ON c.oid = to_regclass(quote_ident(wanted.name))
