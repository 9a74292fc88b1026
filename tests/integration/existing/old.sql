-- An old database: no phone numbers, no verification, no status `sending`, one delivery per event, user
-- and channel, and no digests in the plans.

CREATE TABLE users (
    id serial PRIMARY KEY,
    email text UNIQUE NOT NULL,
    telegram_chat_id text,
    created_at timestamp DEFAULT now()
);

CREATE TABLE user_plans (
    user_id int PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    plan text NOT NULL CHECK (plan IN ('free', 'personal', 'trader', 'pro', 'enterprise')),
    max_total_alerts_per_day int NOT NULL,
    preferred_realtime_channel text NOT NULL,
    created_at timestamp DEFAULT now()
);

CREATE TABLE user_alert_prefs (
    id serial PRIMARY KEY,
    user_id int NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    region text NOT NULL DEFAULT 'Europe',
    alert_type text NOT NULL CHECK (alert_type IN ('HIGH_IMPACT_EVENT', 'REGIONAL_RISK_SPIKE', 'ASSET_RISK_SPIKE', 'DAILY_DIGEST')),
    asset text CHECK (asset IS NULL OR asset IN ('oil', 'gas', 'fx', 'freight')),
    threshold float,
    enabled boolean DEFAULT true,
    cooldown_minutes int DEFAULT 120,
    created_at timestamp DEFAULT now()
);

CREATE TABLE alert_events (
    id serial PRIMARY KEY,
    alert_type text NOT NULL CHECK (alert_type IN ('HIGH_IMPACT_EVENT', 'REGIONAL_RISK_SPIKE', 'ASSET_RISK_SPIKE', 'DAILY_DIGEST')),
    scope_region text,
    scope_assets text[] DEFAULT '{}',
    severity int DEFAULT 3 CHECK (severity >= 1 AND severity <= 5),
    headline text NOT NULL,
    body text NOT NULL,
    driver_event_ids int[],
    cooldown_key text NOT NULL UNIQUE,
    event_fingerprint text UNIQUE,
    fanout_completed_at timestamp,
    created_at timestamp DEFAULT now()
);

CREATE TABLE user_alert_deliveries (
    id serial PRIMARY KEY,
    user_id int NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    alert_event_id int NOT NULL REFERENCES alert_events (id) ON DELETE CASCADE,
    channel text NOT NULL CHECK (channel IN ('email', 'telegram', 'sms', 'account')),
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'sent', 'failed', 'skipped')),
    reason text,
    provider_message_id text,
    created_at timestamp DEFAULT now(),
    sent_at timestamp,
    delivery_kind text DEFAULT 'instant',
    attempts int DEFAULT 0,
    next_retry_at timestamp,
    last_error text,
    UNIQUE (user_id, alert_event_id, channel)
);

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
    id serial PRIMARY KEY,
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
    status text CHECK (status IN ('running', 'success', 'failed')),
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

INSERT INTO users (id, email, telegram_chat_id, created_at) VALUES
(41, 'ada@example.com', NULL, '2025-01-01 00:00'),
(42, 'ben@example.com', '1042', '2025-01-02 00:00'),
(43, 'cem@example.com', NULL, '2025-01-03 00:00');

INSERT INTO user_plans (user_id, plan, max_total_alerts_per_day, preferred_realtime_channel) VALUES
(42, 'pro', 30, 'telegram'), (43, 'personal', 5, 'email');

INSERT INTO user_alert_prefs (user_id, region, alert_type) VALUES
(42, 'Europe', 'HIGH_IMPACT_EVENT'), (42, 'Europe', 'HIGH_IMPACT_EVENT'), (42, 'Global', 'DAILY_DIGEST');

INSERT INTO alert_events (id, alert_type, scope_region, severity, headline, body, cooldown_key, event_fingerprint, fanout_completed_at, created_at) VALUES
(1, 'HIGH_IMPACT_EVENT', 'Europe', 4, 'Strike announced', 'Old body', 'HIGH_IMPACT_EVENT:2', 'HIGH_IMPACT_EVENT:2', '2026-01-10 10:10', '2026-01-10 10:10'),
(2, 'HIGH_IMPACT_EVENT', 'Europe', 5, 'Never fanned out', 'Old body', 'legacy-2', NULL, NULL, '2026-01-16 11:00');

INSERT INTO user_alert_deliveries (id, user_id, alert_event_id, channel, status, created_at, sent_at, delivery_kind, attempts) VALUES
(1, 42, 1, 'email', 'sent', '2026-01-10 10:11', '2026-01-10 10:12', 'instant', 1),
(2, 42, 1, 'telegram', 'queued', '2026-01-16 11:11', NULL, 'instant', NULL),
(3, 43, 1, 'email', 'queued', '2026-01-16 11:11', NULL, 'digest', 0),
(4, 42, 1, 'account', 'sent', '2026-01-10 10:11', '2026-01-10 10:11', 'instant', 0),
(5, 42, 2, 'email', 'queued', '2026-01-16 11:12', NULL, 'instant', 0);

INSERT INTO user_alert_digests (id, user_id, channel, period, window_start, window_end, digest_key, status, created_at) VALUES
(1, 43, 'email', 'daily', '2026-01-14 23:00', '2026-01-15 23:00', '43:email:daily:2026-01-15', 'queued', '2026-01-16 06:00');

INSERT INTO alerts_engine_runs (run_id, triggered_by, phase, started_at, finished_at, duration_ms, status, counts) VALUES
('legacy-1', 'cron', 'all', '2026-01-16 11:00', '2026-01-16 11:01', 60000, 'success', '{"phase_c": {"sent": 3}}'),
('legacy-2', 'cron', 'all', '2026-01-16 11:10', NULL, NULL, 'running', NULL);

SELECT setval('users_id_seq', 100);
SELECT setval('alert_events_id_seq', 100);
SELECT setval('user_alert_deliveries_id_seq', 100);
SELECT setval('user_alert_digests_id_seq', 100);
