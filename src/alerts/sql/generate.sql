-- Phase A. Each statement returns, by alert type, how many alerts are due and how many of them were new.

-- name: spikes
-- Regions and assets whose newest 7-day index, calculated within the look-back, is high or rose sharply.
-- A spike is dated by the day (UTC) of its index, so that one index never alerts twice, whenever a run comes.
-- What is no number (NaN, greater than Infinity to PostgreSQL) says nothing.
WITH regional AS (
    SELECT DISTINCT ON (region) region, risk_score::numeric AS score, trend, calculated_at
    FROM risk_indices
    WHERE window_days = 7 AND calculated_at > %(since)s AND calculated_at <= %(now)s AND risk_score::numeric < 'Infinity'
    ORDER BY region, calculated_at DESC, id DESC
),

assets AS (
    SELECT DISTINCT ON (asset, region) asset, region, risk_score::numeric AS score, direction, calculated_at
    FROM asset_risk
    WHERE window_days = 7 AND calculated_at > %(since)s AND calculated_at <= %(now)s AND risk_score::numeric < 'Infinity'
    ORDER BY asset, region, calculated_at DESC, id DESC
),

measured AS (
    SELECT
        'REGIONAL_RISK_SPIKE' AS alert_type, region, NULL AS asset, region AS subject, 'risk index' AS measure,
        regional.score, regional.calculated_at, ' Trend: ' || trend || '.' AS tendency,
        earlier.score AS earlier_score, earlier.calculated_at AS earlier_at,
        COALESCE(earlier.score > 0 AND regional.score * 100 >= earlier.score * 120, false) AS rose
    FROM regional
    LEFT JOIN LATERAL (
        SELECT i.risk_score::numeric AS score, i.calculated_at
        FROM risk_indices AS i
        WHERE
            i.window_days = 7 AND i.region = regional.region AND i.risk_score::numeric < 'Infinity'
            AND i.calculated_at <= regional.calculated_at - interval '24 hours'
        ORDER BY i.calculated_at DESC, i.id DESC
        LIMIT 1
    ) AS earlier ON true
    UNION ALL
    SELECT
        'ASSET_RISK_SPIKE', region, asset, format('%%s (%%s)', initcap(asset), COALESCE(region, 'Global')), 'risk score',
        score, calculated_at, ' Direction: ' || direction || '.',
        NULL, NULL, false
    FROM assets
),

due AS (
    SELECT
        *,
        concat_ws(':', alert_type, COALESCE(region, 'Global'), asset, to_char(calculated_at, 'YYYY-MM-DD')) AS fingerprint,
        trim_scale(round(score, 1)) AS shown
    FROM measured
    WHERE score >= 70 OR rose
),

created AS (
    INSERT INTO alert_events (
        alert_type, scope_region, scope_assets, severity, score, headline, body,
        driver_event_ids, cooldown_key, event_fingerprint, created_at
    )
    SELECT
        alert_type, region, array_remove(ARRAY[asset], NULL),
        CASE WHEN score >= 90 THEN 5 WHEN score >= 80 THEN 4 ELSE 3 END,
        score,
        format('%%s: %%s %%s %%s of 100', subject, measure, CASE WHEN rose THEN 'jumps to' ELSE 'is high, at' END, shown),
        concat(
            format('%%s: the 7-day %%s is at %%s of 100', subject, measure, shown),
            CASE WHEN rose THEN format(
                ', %%s%%%% above its %%s of %%s',
                floor(score * 100 / earlier_score - 100),
                trim_scale(round(earlier_score, 1)),
                to_char(earlier_at, 'FMDD FMMonth YYYY')
            ) END,
            '.', tendency, drivers.list
        ),
        drivers.ids, fingerprint, fingerprint, %(now)s
    FROM due
    CROSS JOIN LATERAL (
        SELECT
            COALESCE(array_agg(d.id ORDER BY d.place), '{}') AS ids,
            E'\nBehind it:' || string_agg(
                E'\n- ' || d.title || COALESCE(' (' || NULLIF(d.source_name, '') || ')', ''), '' ORDER BY d.place
            ) AS list
        FROM (
            SELECT
                e.id, e.title, e.source_name,
                row_number() OVER (ORDER BY e.severity_score DESC NULLS LAST, e.inserted_at DESC, e.id) AS place
            FROM events AS e
            WHERE
                e.inserted_at > due.calculated_at - interval '7 days' AND e.inserted_at <= %(now)s
                AND lower(COALESCE(due.region, 'Global')) IN ('global', lower(e.region))
            ORDER BY place
            LIMIT 3
        ) AS d
    ) AS drivers
    ORDER BY due.score DESC, fingerprint
    ON CONFLICT DO NOTHING
    RETURNING alert_type
)

SELECT
    alert_type, count(*) AS due,
    (SELECT count(*) FROM created WHERE created.alert_type = due.alert_type) AS created
FROM due
GROUP BY alert_type;

-- name: high_impact_events
-- Grave news of the look-back in the categories that move energy markets.
WITH due AS (
    SELECT id, title, source_name, region, severity_score, ai_summary, 'HIGH_IMPACT_EVENT:' || id AS fingerprint
    FROM events
    WHERE
        inserted_at > %(since)s AND inserted_at <= %(now)s AND severity_score >= 4
        AND lower(category) IN (
            'war', 'military', 'conflict', 'strike', 'supply_disruption',
            'sanctions', 'energy', 'political', 'diplomacy', 'geopolitical'
        )
),

created AS (
    INSERT INTO alert_events (
        alert_type, scope_region, severity, score, headline, body,
        driver_event_ids, cooldown_key, event_fingerprint, created_at
    )
    SELECT
        'HIGH_IMPACT_EVENT', region, severity_score, severity_score * 20, title,
        concat(COALESCE(NULLIF(ai_summary, ''), title), E'\nSource: ' || NULLIF(source_name, '')),
        ARRAY[id], fingerprint, fingerprint, %(now)s
    FROM due
    ORDER BY severity_score DESC, id
    ON CONFLICT DO NOTHING
    RETURNING id
)

SELECT 'HIGH_IMPACT_EVENT' AS alert_type, (SELECT count(*) FROM due) AS due, (SELECT count(*) FROM created) AS created;
