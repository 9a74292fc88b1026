-- The columns that the engine needs. On a new database most are there already; on a database that had
-- its tables before, this adds what they lack. Constants as defaults are kept in the catalogue, so no
-- table is rewritten and no row is touched.
--
-- Rows that were there before the engine have `fanout_waived` (events: they count as fanned out) and
-- `adopted` (deliveries, digests: they are neither batched nor sent, unless `db.migrate --include-old`
-- releases those left queued or sending); in all rows that come later both are false. A row whose
-- `send_key` is set was in a request of unknown outcome under that idempotency key; rows with the same
-- key went out in one request. `priority` is the event's severity, copied so that the claim walks an
-- index in sending order.

ALTER TABLE users
    ADD COLUMN IF NOT EXISTS email_verified boolean,
    ADD COLUMN IF NOT EXISTS telegram_chat_id text,
    ADD COLUMN IF NOT EXISTS phone_number text;

ALTER TABLE alert_events
    ADD COLUMN IF NOT EXISTS scope_region text,
    ADD COLUMN IF NOT EXISTS scope_assets text[],
    ADD COLUMN IF NOT EXISTS score double precision,
    ADD COLUMN IF NOT EXISTS driver_event_ids bigint[],
    ADD COLUMN IF NOT EXISTS event_fingerprint text,
    ADD COLUMN IF NOT EXISTS fanout_completed_at timestamptz,
    ADD COLUMN IF NOT EXISTS fanout_scope text,
    ADD COLUMN IF NOT EXISTS fanout_waived boolean NOT NULL DEFAULT true,
    ALTER COLUMN fanout_waived SET DEFAULT false;

ALTER TABLE user_alert_deliveries
    ADD COLUMN IF NOT EXISTS delivery_kind text NOT NULL DEFAULT 'instant',
    ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS next_retry_at timestamptz,
    ADD COLUMN IF NOT EXISTS last_error text,
    ADD COLUMN IF NOT EXISTS failure_reason text,
    ADD COLUMN IF NOT EXISTS provider_message_id text,
    ADD COLUMN IF NOT EXISTS claimed_by text,
    ADD COLUMN IF NOT EXISTS claimed_at timestamptz,
    ADD COLUMN IF NOT EXISTS sent_at timestamptz,
    ADD COLUMN IF NOT EXISTS priority smallint,
    ADD COLUMN IF NOT EXISTS send_key uuid,
    ADD COLUMN IF NOT EXISTS send_key_at timestamptz,
    ADD COLUMN IF NOT EXISTS send_provider text,
    ADD COLUMN IF NOT EXISTS adopted boolean NOT NULL DEFAULT true,
    ALTER COLUMN adopted SET DEFAULT false;

ALTER TABLE user_alert_digests
    ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS next_retry_at timestamptz,
    ADD COLUMN IF NOT EXISTS last_error text,
    ADD COLUMN IF NOT EXISTS failure_reason text,
    ADD COLUMN IF NOT EXISTS provider_message_id text,
    ADD COLUMN IF NOT EXISTS claimed_by text,
    ADD COLUMN IF NOT EXISTS claimed_at timestamptz,
    ADD COLUMN IF NOT EXISTS sent_at timestamptz,
    ADD COLUMN IF NOT EXISTS send_key uuid,
    ADD COLUMN IF NOT EXISTS send_key_at timestamptz,
    ADD COLUMN IF NOT EXISTS send_provider text,
    ADD COLUMN IF NOT EXISTS adopted boolean NOT NULL DEFAULT true,
    ALTER COLUMN adopted SET DEFAULT false;

-- Other writers may put a delivery into two digests where the table allows it; the engine sets
-- `exclusive`, and a unique index on such rows (0006) keeps it from doing so.
ALTER TABLE user_alert_digest_items
    ADD COLUMN IF NOT EXISTS created_at timestamptz,
    ADD COLUMN IF NOT EXISTS exclusive boolean NOT NULL DEFAULT false;

-- What is not known of older runs stays null.
ALTER TABLE alerts_engine_runs
    ADD COLUMN IF NOT EXISTS git_sha text,
    ADD COLUMN IF NOT EXISTS dry_run boolean,
    ADD COLUMN IF NOT EXISTS actor text,
    ADD COLUMN IF NOT EXISTS rollout jsonb,
    ADD COLUMN IF NOT EXISTS created_at timestamptz;
