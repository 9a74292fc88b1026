-- A database whose delivery table lost its unique constraint and its CHECKs, with nothing but ingestion
-- and deliveries: no digests, no run history. Its rows were loaded with their ids, past the sequences.

CREATE TABLE users (
    id serial PRIMARY KEY,
    email text UNIQUE NOT NULL,
    telegram_chat_id text,
    created_at timestamp DEFAULT now()
);

CREATE TABLE user_plans (
    user_id int PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    plan text NOT NULL
);

CREATE TABLE user_alert_prefs (
    id serial PRIMARY KEY,
    user_id int NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    region text NOT NULL DEFAULT 'Europe',
    alert_type text NOT NULL,
    asset text,
    threshold float,
    enabled boolean DEFAULT true
);

CREATE TABLE alert_events (
    id serial PRIMARY KEY,
    alert_type text NOT NULL,
    scope_region text,
    scope_assets text[] DEFAULT '{}',
    severity int DEFAULT 3,
    headline text NOT NULL,
    body text NOT NULL,
    driver_event_ids int[],
    cooldown_key text NOT NULL UNIQUE,
    created_at timestamp DEFAULT now()
);

CREATE TABLE user_alert_deliveries (
    id serial PRIMARY KEY,
    user_id int NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    alert_event_id int REFERENCES alert_events (id) ON DELETE CASCADE,
    channel text NOT NULL,
    status text NOT NULL DEFAULT 'queued',
    reason text,
    created_at timestamp DEFAULT now(),
    sent_at timestamp,
    delivery_kind text DEFAULT 'instant'
);

INSERT INTO users (id, email, telegram_chat_id, created_at) VALUES
(41, 'ada@example.com', NULL, '2025-01-01 00:00'),
(42, 'ben@example.com', '1042', '2025-01-02 00:00'),
(43, 'cem@example.com', NULL, '2025-01-03 00:00');

INSERT INTO user_plans (user_id, plan) VALUES (42, 'pro'), (43, 'personal');

INSERT INTO alert_events (id, alert_type, scope_region, severity, headline, body, cooldown_key, created_at) VALUES
(1, 'HIGH_IMPACT_EVENT', 'Europe', 4, 'Strike announced', 'Old body', 'HIGH_IMPACT_EVENT:2', '2026-01-10 10:10'),
(2, 'HIGH_IMPACT_EVENT', 'Europe', 5, 'Never fanned out', 'Old body', 'legacy-2', '2026-01-16 11:00');

INSERT INTO user_alert_deliveries (id, user_id, alert_event_id, channel, status, created_at, sent_at, delivery_kind) VALUES
(1, 42, 1, 'email', 'sent', '2026-01-10 10:11', '2026-01-10 10:12', 'instant'),
(2, 42, 1, 'telegram', 'queued', '2026-01-16 11:11', NULL, 'instant'),
(3, 42, 1, 'account', 'sent', '2026-01-10 10:11', '2026-01-10 10:11', 'instant'),
(4, 42, 1, 'account', 'sent', '2026-01-10 10:11', '2026-01-10 10:11', 'instant');
