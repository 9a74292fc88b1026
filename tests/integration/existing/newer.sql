-- A newer database: more columns and constraints, deliveries of other kinds and without an event, both
-- unique constraints, a delivery in two digests, and rows under way.

CREATE TABLE users (
    id serial PRIMARY KEY,
    email text UNIQUE NOT NULL,
    telegram_chat_id text,
    created_at timestamp DEFAULT now(),
    email_verified boolean DEFAULT false,
    phone_number varchar(20),
    telegram_link_code varchar(64),
    telegram_link_expires timestamp,
    updated_at timestamp DEFAULT now(),
    password_hash text,
    stripe_customer_id varchar(255),
    subscription_status text DEFAULT 'none'
);

CREATE TABLE user_plans (
    user_id int PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    plan text NOT NULL CHECK (plan IN ('free', 'personal', 'trader', 'pro', 'enterprise')),
    plan_price_usd numeric(10, 2) NOT NULL,
    max_email_alerts_per_day int NOT NULL,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

CREATE TABLE user_alert_prefs (
    id serial PRIMARY KEY,
    user_id int NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    region text NOT NULL DEFAULT 'Europe',
    alert_type text NOT NULL,
    asset text,
    threshold float,
    enabled boolean DEFAULT true,
    cooldown_minutes int DEFAULT 120,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

ALTER TABLE plan_settings ADD COLUMN max_regions int DEFAULT 1;

CREATE TABLE alert_events (
    id serial PRIMARY KEY,
    alert_type text NOT NULL CHECK (alert_type IN ('HIGH_IMPACT_EVENT', 'REGIONAL_RISK_SPIKE', 'ASSET_RISK_SPIKE', 'DAILY_DIGEST')),
    scope_region text,
    scope_assets text[] DEFAULT '{}',
    severity int DEFAULT 3 CHECK (severity BETWEEN 1 AND 5),
    headline text NOT NULL,
    body text NOT NULL,
    driver_event_ids int[],
    cooldown_key text NOT NULL UNIQUE,
    event_fingerprint text NOT NULL UNIQUE,
    fanout_completed_at timestamp,
    raw_input jsonb,
    classification jsonb,
    category text,
    confidence numeric,
    created_at timestamp DEFAULT now()
);

CREATE TABLE user_alert_deliveries (
    id serial PRIMARY KEY,
    user_id int NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    alert_event_id int REFERENCES alert_events (id) ON DELETE CASCADE,
    channel varchar(20) NOT NULL CHECK (channel IN ('email', 'telegram', 'sms', 'account')),
    status varchar(20) NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'sending', 'sent', 'failed', 'skipped')),
    reason text,
    provider_message_id text,
    created_at timestamp DEFAULT now(),
    sent_at timestamp,
    delivery_kind text DEFAULT 'instant',
    attempts int DEFAULT 0,
    next_retry_at timestamp,
    last_error text,
    batch_window timestamp,
    geri_date date,
    UNIQUE (user_id, alert_event_id, channel),
    UNIQUE (alert_event_id, user_id, channel, delivery_kind)
);

CREATE UNIQUE INDEX user_alert_deliveries_geri_key ON user_alert_deliveries (user_id, channel, geri_date)
    WHERE delivery_kind = 'geri';

CREATE TABLE user_alert_digests (
    id serial PRIMARY KEY,
    user_id int NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    channel text NOT NULL CHECK (channel IN ('email', 'telegram')),
    period text NOT NULL CHECK (period IN ('daily', 'hourly')),
    window_start timestamp NOT NULL,
    window_end timestamp NOT NULL,
    digest_key text NOT NULL UNIQUE,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'sending', 'sent', 'failed', 'skipped')),
    attempts int DEFAULT 0,
    next_retry_at timestamp,
    last_error text,
    sent_at timestamp,
    created_at timestamp DEFAULT now()
);

CREATE TABLE user_alert_digest_items (
    digest_id int NOT NULL REFERENCES user_alert_digests (id) ON DELETE CASCADE,
    delivery_id int NOT NULL REFERENCES user_alert_deliveries (id) ON DELETE CASCADE,
    created_at timestamp DEFAULT now(),
    UNIQUE (digest_id, delivery_id)
);

CREATE TABLE alerts_engine_runs (
    id serial PRIMARY KEY,
    run_id text UNIQUE NOT NULL,
    triggered_by text,
    phase text,
    started_at timestamp DEFAULT now(),
    finished_at timestamp,
    duration_ms int,
    status text,
    counts jsonb,
    error_summary text,
    git_sha text,
    created_at timestamp DEFAULT now()
);

CREATE TABLE alerts_engine_run_items (
    id serial PRIMARY KEY,
    run_id text NOT NULL REFERENCES alerts_engine_runs (run_id) ON DELETE CASCADE,
    phase text NOT NULL,
    started_at timestamp DEFAULT now(),
    finished_at timestamp,
    duration_ms int,
    status text,
    counts jsonb,
    error_summary text
);

INSERT INTO users (id, email, telegram_chat_id, email_verified, phone_number, created_at) VALUES
(41, 'ada@example.com', NULL, NULL, NULL, '2025-01-01 00:00'),
(42, 'ben@example.com', '1042', true, '+31600000042', '2025-01-02 00:00'),
(43, 'cem@example.com', NULL, false, NULL, '2025-01-03 00:00');

INSERT INTO user_plans (user_id, plan, plan_price_usd, max_email_alerts_per_day) VALUES
(42, 'pro', 49, 15), (43, 'personal', 9.95, 4);

INSERT INTO user_alert_prefs (user_id, region, alert_type) VALUES
(42, 'Europe', 'HIGH_IMPACT_EVENT'), (42, 'Europe', 'HIGH_IMPACT_EVENT'), (42, 'Global', 'DAILY_DIGEST');

INSERT INTO alert_events (id, alert_type, scope_region, severity, headline, body, cooldown_key, event_fingerprint, fanout_completed_at, created_at) VALUES
(1, 'HIGH_IMPACT_EVENT', 'Europe', 4, 'Strike announced', 'Old body', 'HIGH_IMPACT_EVENT:2', 'HIGH_IMPACT_EVENT:2', '2026-01-10 10:10', '2026-01-10 10:10'),
(2, 'HIGH_IMPACT_EVENT', 'Europe', 5, 'Never fanned out', 'Old body', 'legacy-2', 'legacy-2', NULL, '2026-01-16 11:00');

INSERT INTO user_alert_deliveries (id, user_id, alert_event_id, channel, status, created_at, sent_at, delivery_kind, attempts, geri_date) VALUES
(1, 42, 1, 'email', 'sent', '2026-01-10 10:11', '2026-01-10 10:12', 'instant', 1, NULL),
(2, 42, 1, 'telegram', 'queued', '2026-01-16 11:11', NULL, 'instant', NULL, NULL),
(3, 43, 1, 'email', 'queued', '2026-01-16 11:11', NULL, 'digest', 0, NULL),
(4, 42, 1, 'account', 'sent', '2026-01-10 10:11', '2026-01-10 10:11', 'instant', 0, NULL),
(5, 42, 2, 'email', 'sending', '2026-01-16 11:12', NULL, 'instant', 1, NULL),
(6, 42, NULL, 'email', 'queued', '2026-01-16 11:13', NULL, 'geri', 0, '2026-01-16'),
(7, 42, NULL, 'email', 'queued', '2026-01-16 11:13', NULL, 'index_digest', 0, NULL),
(8, 42, NULL, 'email', 'queued', '2026-01-16 11:14', NULL, 'index_digest', 0, NULL),
(9, 42, 2, 'telegram', 'skipped', '2026-01-16 11:14', NULL, 'digest', 0, NULL);

INSERT INTO user_alert_digests (id, user_id, channel, period, window_start, window_end, digest_key, status, created_at) VALUES
(1, 43, 'email', 'daily', '2026-01-14 23:00', '2026-01-15 23:00', '43:email:daily:2026-01-15', 'queued', '2026-01-16 06:00'),
(2, 42, 'telegram', 'daily', '2026-01-14 23:00', '2026-01-15 23:00', '42:telegram:daily:2026-01-15', 'sending', '2026-01-16 06:00');

INSERT INTO user_alert_digest_items (digest_id, delivery_id) VALUES (1, 3), (2, 9), (1, 9);

INSERT INTO alerts_engine_runs (run_id, triggered_by, phase, started_at, finished_at, duration_ms, status, counts) VALUES
('legacy-1', 'cron', 'all', '2026-01-16 11:00', '2026-01-16 11:01', 60000, 'completed', '{"phase_c": {"sent": 3}}');

SELECT setval('users_id_seq', 100);
SELECT setval('alert_events_id_seq', 100);
SELECT setval('user_alert_deliveries_id_seq', 100);
SELECT setval('user_alert_digests_id_seq', 100);
