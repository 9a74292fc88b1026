-- Phase B. Who hears what: one statement per chunk of users decides and writes.

-- name: open_events
-- Events of the look-back that wait for their fan-out.
SELECT id
FROM alert_events
WHERE fanout_completed_at IS NULL AND NOT fanout_waived AND created_at > %(since)s AND created_at <= %(now)s;

-- name: days_events
-- Events that can have instants created today: those of the day and, as nothing older than %(max_age)s becomes an
-- instant of a backfill, of so long before; those whose fan-out was done today; and those that are open.
SELECT id
FROM alert_events
WHERE
    created_at >= %(day_start)s - %(max_age)s OR fanout_completed_at >= %(day_start)s
    OR (fanout_completed_at IS NULL AND NOT fanout_waived);

-- name: chunk
-- The next chunk of users: its last id, and whether nobody comes after it.
SELECT %(after)s::bigint AS after, COALESCE(max(id), %(after)s) AS last, count(*) < %(limit)s AS final
FROM (SELECT id FROM users WHERE id > %(after)s ORDER BY id LIMIT %(limit)s) AS chunk;

-- name: decisions
-- The rules. Opens a statement whose CTEs say who is interested in what (`interest`), who can be reached how
-- (`reach`), and what becomes of every wanted (event, user, channel) of a chunk (`decisions`).
WITH wave AS MATERIALIZED (
    SELECT
        id AS event_id, alert_type, scope_assets, severity, score,
        COALESCE(NULLIF(lower(scope_region), ''), 'global') AS region,
        row_number() OVER (ORDER BY severity DESC, created_at, id) AS turn,
        ARRAY(
            SELECT plan_code FROM plan_settings AS p WHERE p.allowed_alert_types && ARRAY[alert_events.alert_type, 'ALL']
        ) AS plans,
        COALESCE(created_at < %(stale_before)s, false) AS stale
    FROM alert_events
    WHERE id = ANY(%(events)s::bigint[])
),

people AS MATERIALIZED (
    SELECT
        u.id AS user_id,
        COALESCE(p.plan_code, 'free') AS plan_code,
        %(allowed)s::bigint[] IS NULL OR u.id = ANY(%(allowed)s::bigint[]) AS allowed,
        NULLIF(btrim(u.email), '') IS NOT NULL AND u.email_verified IS NOT FALSE AS has_email,
        NULLIF(btrim(u.telegram_chat_id), '') IS NOT NULL AS has_telegram,
        NULLIF(btrim(u.phone_number), '') IS NOT NULL AS has_phone
    FROM users AS u
    LEFT JOIN user_plans AS up ON up.user_id = u.id AND up.user_id > %(after)s AND up.user_id <= %(last)s
    LEFT JOIN plan_settings AS p ON p.plan_code = up.plan AND p.is_active
    WHERE u.id > %(after)s AND u.id <= %(last)s
),

-- Rows of interest, or the default for those who have none.
wishes AS (
    SELECT user_id, alert_type, lower(region) AS region, asset, threshold
    FROM user_alert_prefs
    WHERE
        user_id > %(after)s AND user_id <= %(last)s AND enabled IS NOT FALSE
        AND (%(allowed)s::bigint[] IS NULL OR user_id = ANY(%(allowed)s::bigint[]))
    UNION ALL
    SELECT user_id, 'HIGH_IMPACT_EVENT', 'europe', NULL, NULL
    FROM people
    WHERE allowed AND NOT EXISTS (
        SELECT FROM user_alert_prefs AS p
        WHERE p.user_id = people.user_id AND p.user_id > %(after)s AND p.user_id <= %(last)s
    )
),

-- How far the best of a user's wishes goes with an event; no row: no wish for that type.
interest AS (
    SELECT
        user_id, event_id,
        bool_or(near) AS near,
        bool_or(near AND fits) AS fits,
        bool_or(near AND fits AND high) AS high
    FROM (
        SELECT
            wishes.user_id, wave.event_id,
            wishes.region IN ('global', wave.region) OR wave.region = 'global' AS near,
            wishes.asset IS NULL OR COALESCE(cardinality(wave.scope_assets), 0) = 0 OR wishes.asset = ANY(wave.scope_assets) AS fits,
            wishes.threshold IS NULL OR wave.score IS NULL OR wave.score >= wishes.threshold AS high
        FROM wishes
        JOIN wave ON wave.alert_type = wishes.alert_type
    ) AS matches
    GROUP BY user_id, event_id
),

-- The channels that the user's plan offers.
reach AS MATERIALIZED (
    SELECT
        people.user_id, people.plan_code, plan.channel, plan.has_digest, plan.hourly,
        COALESCE(plan.instants_per_day, 0) AS instants_per_day,
        setting.enabled IS NOT FALSE AS switched_on,
        setting.delivery_mode IS NOT DISTINCT FROM 'digest' AS digest_wished,
        CASE plan.channel
            WHEN 'email' THEN people.has_email WHEN 'telegram' THEN people.has_telegram ELSE people.has_phone
        END AS reachable
    FROM people
    JOIN alert_plan_channels AS plan ON plan.plan_code = people.plan_code
    LEFT JOIN user_alert_channels AS setting
        ON setting.user_id = people.user_id AND setting.channel = plan.channel
        AND setting.user_id > %(after)s AND setting.user_id <= %(last)s
    WHERE people.allowed
),

existing AS (
    SELECT DISTINCT alert_event_id AS event_id, user_id, channel
    FROM user_alert_deliveries
    WHERE
        alert_event_id = ANY(%(events)s::bigint[]) AND user_id > %(after)s AND user_id <= %(last)s
        AND delivery_kind IN ('instant', 'digest') AND channel <> 'account'
),

judged AS MATERIALIZED (
    SELECT
        reach.user_id, wave.event_id, reach.channel, wave.severity, wave.turn, reach.has_digest, reach.instants_per_day,
        reach.has_digest AND (reach.instants_per_day = 0 OR reach.digest_wished OR wave.stale) AS digest,
        CASE
            WHEN NOT reach.reachable THEN 'destination'
            WHEN existing.user_id IS NOT NULL THEN 'exists'
            WHEN wave.stale AND NOT reach.has_digest THEN 'expired'
        END AS gate
    FROM interest
    JOIN reach ON reach.user_id = interest.user_id
    JOIN wave ON wave.event_id = interest.event_id
    LEFT JOIN existing
        ON existing.user_id = reach.user_id AND existing.event_id = wave.event_id AND existing.channel = reach.channel
    WHERE
        interest.high AND reach.plan_code = ANY(wave.plans)
        AND reach.switched_on AND (reach.has_digest OR NOT reach.digest_wished)
),

-- Instants in the order in which they claim the places of the day: severest first, then oldest.
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY user_id, channel ORDER BY turn) AS place
    FROM judged
    WHERE gate IS NULL AND NOT digest
),

-- Places of the day that are taken, by instants of the events that have any (`days_events`).
taken AS MATERIALIZED (
    SELECT ranked.user_id, ranked.channel, count(d.id) AS instants
    FROM ranked
    LEFT JOIN user_alert_deliveries AS d
        ON d.user_id = ranked.user_id AND d.channel = ranked.channel
        AND d.alert_event_id = ANY(%(days_events)s::bigint[]) AND d.user_id > %(after)s AND d.user_id <= %(last)s
        AND d.delivery_kind = 'instant' AND d.status IN ('queued', 'sending', 'sent')
        AND d.created_at >= %(day_start)s AND d.created_at < %(day_end)s
    WHERE ranked.place = 1
    GROUP BY ranked.user_id, ranked.channel
),

decisions AS MATERIALIZED (
    SELECT user_id, event_id, channel, severity, gate, CASE WHEN digest THEN 'digest' ELSE 'instant' END AS kind, false AS moved
    FROM judged
    WHERE gate IS NOT NULL OR digest
    UNION ALL
    SELECT
        user_id, event_id, channel, severity,
        CASE WHEN over AND NOT has_digest THEN 'quota' END,
        CASE WHEN over AND has_digest THEN 'digest' ELSE 'instant' END,
        over AND has_digest
    FROM (
        SELECT ranked.*, ranked.place + taken.instants > ranked.instants_per_day AS over
        FROM ranked
        JOIN taken ON taken.user_id = ranked.user_id AND taken.channel = ranked.channel
    ) AS claims
)

-- name: fan_out
-- Closes the statement of `decisions`: creates what no gate stops, and counts.
, created AS (
    INSERT INTO user_alert_deliveries (
        user_id, alert_event_id, channel, delivery_kind, status, attempts, priority, created_at
    )
    SELECT user_id, event_id, channel, kind, 'queued', 0, severity, %(now)s
    FROM decisions
    WHERE gate IS NULL
    ON CONFLICT DO NOTHING
    RETURNING 1
)

SELECT
    (SELECT count(*) FROM people WHERE allowed) AS users,
    (SELECT count(*) FROM created) AS created,
    cardinality(%(events)s::bigint[]) * (
        SELECT count(*) FROM people JOIN alert_plan_channels AS plan ON plan.plan_code = people.plan_code WHERE NOT people.allowed
    ) AS allowlist,
    cardinality(%(events)s::bigint[]) * (SELECT count(*) FROM reach) - count(*) AS prefs,
    count(*) FILTER (WHERE gate = 'destination') AS missing_dest,
    count(*) FILTER (WHERE gate = 'quota') AS quota,
    count(*) FILTER (WHERE gate = 'expired') AS expired,
    count(*) FILTER (WHERE moved) AS moved
FROM decisions;

-- name: complete
-- The fan-out of these events is done; committed together with the last chunk.
UPDATE alert_events
SET fanout_completed_at = COALESCE(fanout_completed_at, %(now)s), fanout_scope = %(scope)s
WHERE id = ANY(%(events)s::bigint[]);

-- name: restricted_events
-- Events of the look-back whose fan-out left out those whom the environment's allowlist did not name.
SELECT id
FROM alert_events
WHERE
    fanout_scope = 'allowlist' AND fanout_completed_at IS NOT NULL AND NOT fanout_waived
    AND created_at > %(since)s AND created_at <= %(now)s;
