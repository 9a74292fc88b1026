-- What the demo writes in place of the product's ingestion and sign-up, and what it reads to tell the story.

-- name: drop_database
-- The demo's database of the last time.
DROP DATABASE IF EXISTS energyriskiq_demo WITH (FORCE)

-- name: create_database
-- A database of the demo's own.
CREATE DATABASE energyriskiq_demo

-- name: add_people
-- The invented users with their plans, interests and channels.
WITH people AS (
    SELECT * FROM jsonb_to_recordset(%(people)s::jsonb) AS p (
        id bigint, email text, email_verified boolean, telegram_chat_id text, phone_number text,
        plan text, prefs jsonb, channels jsonb
    )
),

added AS (
    INSERT INTO users (id, email, email_verified, telegram_chat_id, phone_number, created_at)
    SELECT id, email, email_verified, telegram_chat_id, phone_number, %(now)s FROM people
),

planned AS (
    INSERT INTO user_plans (user_id, plan) SELECT id, plan FROM people
),

interested AS (
    INSERT INTO user_alert_prefs (user_id, alert_type, region, asset, threshold, enabled)
    SELECT people.id, pref.*
    FROM people
    CROSS JOIN LATERAL jsonb_to_recordset(people.prefs) AS pref (
        alert_type text, region text, asset text, threshold double precision, enabled boolean
    )
)

INSERT INTO user_alert_channels (user_id, channel, enabled, delivery_mode)
SELECT people.id, choice.*
FROM people
CROSS JOIN LATERAL jsonb_to_recordset(people.channels) AS choice (channel text, enabled boolean, delivery_mode text)

-- name: add_news
-- Events as the ingestion writes them; those that are there stay.
INSERT INTO events (title, source_name, source_url, region, category, severity_score, ai_summary, event_time, inserted_at)
SELECT title, 'Public record', url, region, category, severity, summary, known_at, known_at
FROM jsonb_to_recordset(%(news)s::jsonb) AS n (
    title text, url text, region text, category text, severity integer, summary text, known_at timestamptz
)
ON CONFLICT DO NOTHING

-- name: add_regional_risks
-- Indices of a day.
INSERT INTO risk_indices (region, window_days, risk_score, trend, calculated_at)
SELECT region, 7, score, direction, known_at
FROM jsonb_to_recordset(%(risks)s::jsonb) AS r (region text, score double precision, direction text, known_at timestamptz)

-- name: add_asset_risks
-- Asset scores of a trading day.
INSERT INTO asset_risk (asset, region, window_days, risk_score, direction, calculated_at)
SELECT asset, region, 7, score, direction, known_at
FROM jsonb_to_recordset(%(risks)s::jsonb) AS r (
    asset text, region text, score double precision, direction text, known_at timestamptz
)

-- name: alerts
-- The alerts of a day, severest first.
SELECT id, alert_type, scope_region AS region, scope_assets AS assets, severity, headline
FROM alert_events
WHERE created_at >= %(since)s
ORDER BY severity DESC, score DESC, id

-- name: deliveries
-- What became of a day's alerts: a row per user, alert and channel. Inside a digest the digest's fate counts.
SELECT
    d.user_id, d.alert_event_id AS alert_id, d.channel, d.delivery_kind AS kind,
    COALESCE(g.status, d.status) AS status,
    COALESCE(g.failure_reason, d.failure_reason) AS reason,
    COALESCE(g.provider_message_id, d.provider_message_id) AS file
FROM user_alert_deliveries AS d
INNER JOIN alert_events AS e ON d.alert_event_id = e.id
LEFT JOIN user_alert_digest_items AS i ON d.id = i.delivery_id
LEFT JOIN user_alert_digests AS g ON i.digest_id = g.id
WHERE e.created_at >= %(since)s
ORDER BY d.user_id, d.channel, d.delivery_kind DESC, e.severity DESC, e.score DESC, e.id
