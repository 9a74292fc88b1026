-- Plans: one row per plan and channel, and the plans of a new database. Rows that are there stay.

CREATE OR REPLACE FUNCTION alerts_whole_number(value jsonb) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN jsonb_typeof(value) = 'number' THEN greatest(trunc(least((value #>> '{}')::numeric, 1000000)), 0)::integer END;

COMMENT ON FUNCTION alerts_whole_number IS 'A JSON number as a whole number from 0 to 1,000,000; null for anything else.';

CREATE OR REPLACE VIEW alert_plan_channels AS
SELECT
    p.plan_code,
    p.allowed_alert_types,
    c.channel,
    c.instants_per_day,
    c.channel <> 'sms' AS has_digest,
    COALESCE(p.delivery_config -> 'digest' -> 'hourly' = 'true', false) AS hourly
FROM plan_settings AS p
CROSS JOIN LATERAL (
    VALUES
    (
        'email', true,
        LEAST(
            COALESCE(alerts_whole_number(p.delivery_config -> 'email' -> 'max_per_day'), p.max_email_alerts_per_day),
            alerts_whole_number(p.delivery_config -> 'email' -> 'realtime_limit')
        )
    ),
    ('telegram', p.delivery_config -> 'telegram' -> 'enabled' = 'true', p.max_email_alerts_per_day),
    ('sms', p.delivery_config -> 'sms' -> 'enabled' = 'true', p.max_email_alerts_per_day)
) AS c (channel, offered, instants_per_day)
WHERE c.offered AND p.is_active;

COMMENT ON VIEW alert_plan_channels IS
'What each active plan offers: a row per plan and channel. instants_per_day 0 means digests only.';

INSERT INTO plan_settings (plan_code, allowed_alert_types, max_email_alerts_per_day, delivery_config)
SELECT * FROM (VALUES
    ('free', ARRAY['HIGH_IMPACT_EVENT'], 2,
     '{"email": {"max_per_day": 2, "realtime_limit": 0}}'::jsonb),
    ('personal', ARRAY['HIGH_IMPACT_EVENT', 'REGIONAL_RISK_SPIKE'], 4,
     '{"email": {"max_per_day": 4, "realtime_limit": 1}}'),
    ('trader', ARRAY['HIGH_IMPACT_EVENT', 'REGIONAL_RISK_SPIKE', 'ASSET_RISK_SPIKE'], 8,
     '{"email": {"max_per_day": 8, "realtime_limit": 3}, "telegram": {"enabled": true}}'),
    ('pro', ARRAY['ALL'], 15,
     '{"email": {"max_per_day": 15, "realtime_limit": null}, "telegram": {"enabled": true}, "sms": {"enabled": true}}'),
    ('enterprise', ARRAY['ALL'], 30,
     '{"email": {"max_per_day": 30, "realtime_limit": null}, "telegram": {"enabled": true}, "sms": {"enabled": true}, "digest": {"hourly": true}}')
) AS seed
WHERE NOT EXISTS (SELECT FROM plan_settings);
