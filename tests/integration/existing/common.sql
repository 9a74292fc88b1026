-- What all databases of the product have in common, as its own migrations make it. Times are naive UTC.

CREATE TABLE plan_settings (
    plan_code text PRIMARY KEY,
    display_name text NOT NULL,
    monthly_price_usd numeric(8, 2) NOT NULL DEFAULT 0,
    allowed_alert_types text[] NOT NULL DEFAULT '{}',
    max_email_alerts_per_day int NOT NULL DEFAULT 1,
    delivery_config jsonb NOT NULL DEFAULT '{}',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

CREATE TABLE events (
    id serial PRIMARY KEY,
    title text NOT NULL,
    source_name text NOT NULL,
    source_url text UNIQUE NOT NULL,
    category text NOT NULL,
    region text,
    severity_score int CHECK (severity_score >= 1 AND severity_score <= 5),
    event_time timestamp,
    raw_text text,
    inserted_at timestamp DEFAULT now(),
    ai_summary text,
    signal_quality_score real,
    processed boolean DEFAULT false
);

CREATE TABLE risk_indices (
    id serial PRIMARY KEY,
    region text NOT NULL,
    window_days int NOT NULL CHECK (window_days IN (7, 30)),
    risk_score double precision NOT NULL,
    trend text,
    calculated_at timestamp DEFAULT now()
);

CREATE TABLE asset_risk (
    id serial PRIMARY KEY,
    asset text NOT NULL,
    region text NOT NULL,
    window_days int NOT NULL,
    risk_score double precision NOT NULL,
    direction text,
    calculated_at timestamp DEFAULT now()
);

CREATE TABLE sessions (token text PRIMARY KEY, data jsonb, expires_at timestamp);

INSERT INTO plan_settings (plan_code, display_name, monthly_price_usd, allowed_alert_types, max_email_alerts_per_day, delivery_config) VALUES
('free', 'Free', 0, '{HIGH_IMPACT_EVENT}', 1,
 '{"email": {"mode": "limited", "max_per_day": 2, "realtime_limit": 1}, "telegram": {"enabled": false}, "sms": {"enabled": false}, "account": {"show_all": true}}'),
('personal', 'Personal', 9.95, '{HIGH_IMPACT_EVENT,REGIONAL_RISK_SPIKE}', 4,
 '{"email": {"mode": "limited", "max_per_day": 4, "realtime_limit": 1}, "telegram": {"enabled": false}, "sms": {"enabled": false}, "account": {"show_all": true}}'),
('trader', 'Trader', 29, '{HIGH_IMPACT_EVENT,REGIONAL_RISK_SPIKE,ASSET_RISK_SPIKE}', 8,
 '{"email": {"mode": "limited", "max_per_day": 8, "realtime_limit": 3}, "telegram": {"enabled": true, "send_all": true}, "sms": {"enabled": false}, "account": {"show_all": true}}'),
('pro', 'Pro (edited by an admin)', 49, '{HIGH_IMPACT_EVENT,REGIONAL_RISK_SPIKE,ASSET_RISK_SPIKE,DAILY_DIGEST}', 17,
 '{"email": {"mode": "limited", "max_per_day": 17, "realtime_limit": null}, "telegram": {"enabled": true, "send_all": true}, "sms": {"enabled": true, "send_all": true}, "account": {"show_all": true}}');

INSERT INTO events (title, source_name, source_url, category, region, severity_score, event_time, inserted_at) VALUES
('Pipeline attacked', 'Example News', 'https://news.example.com/1', 'war', 'Europe', 5, '2026-01-16 10:00', '2026-01-16 10:05'),
('Strike announced', 'Example News', 'https://news.example.com/2', 'strike', 'Europe', 4, '2026-01-10 10:00', '2026-01-10 10:05');

INSERT INTO risk_indices (region, window_days, risk_score, trend, calculated_at) VALUES
('Europe', 7, 50, 'stable', '2026-01-14 06:00'), ('Europe', 7, 55, 'rising', '2026-01-16 06:00');

INSERT INTO asset_risk (asset, region, window_days, risk_score, direction, calculated_at) VALUES
('oil', 'global', 7, 40, 'stable', '2026-01-16 06:00');
