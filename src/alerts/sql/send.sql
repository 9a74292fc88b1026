-- Phase C. {table} is user_alert_deliveries or user_alert_digests; {ours} tells the rows that are the
-- engine's to send from those that other software keeps in the same table; {order} is sending order.

-- name: recover
-- What runs that are gone left claimed goes back to the queue, still under its idempotency key.
UPDATE {table}
SET status = 'queued', claimed_by = NULL, claimed_at = NULL
WHERE status = 'sending' AND {ours} AND claimed_by IS DISTINCT FROM %(run_id)s

-- name: settle_unknown
-- Requests of unknown outcome that no idempotency key protects (any longer): to be sent anew, or failed.
UPDATE {table}
SET status = CASE WHEN %(resend)s THEN status ELSE 'failed' END,
    failure_reason = CASE WHEN %(resend)s THEN failure_reason ELSE 'outcome_unknown' END,
    send_key = NULL, send_key_at = NULL, send_provider = NULL
WHERE channel = %(channel)s AND status = 'queued' AND send_key IS NOT NULL AND {ours}
    AND (%(allowed)s::bigint[] IS NULL OR user_id = ANY(%(allowed)s::bigint[]))
    AND (send_provider IS DISTINCT FROM %(provider)s OR send_key_at IS NULL OR send_key_at <= %(keys_since)s)

-- name: unknown
-- The members of the oldest request of unknown outcome, if this run admits all of them and nobody holds one.
SELECT {columns}
FROM (SELECT *, count(*) OVER () AS free FROM (
    SELECT {columns}, members
    FROM (
        SELECT send_key AS oldest, count(*) AS members
        FROM {table}
        WHERE channel = %(channel)s AND status = 'queued' AND send_key IS NOT NULL AND {ours}
        GROUP BY send_key
        HAVING count(*) <= %(limit)s
            AND min(send_key_at) > %(keys_since)s
            AND bool_and(next_retry_at IS NULL OR next_retry_at <= %(now)s)
            AND bool_and(%(allowed)s::bigint[] IS NULL OR user_id = ANY(%(allowed)s::bigint[]))
        ORDER BY min(id)
        LIMIT 1
    ) AS request
    JOIN {table} ON send_key = oldest AND channel = %(channel)s AND status = 'queued' AND {ours}
    FOR UPDATE OF {table} SKIP LOCKED
) AS locked) AS request
WHERE free = members

-- name: due
-- Rows to send now, in sending order.
SELECT {columns}
FROM {table}
WHERE channel = %(channel)s AND status = 'queued' AND {ours} AND send_key IS NULL
    AND (next_retry_at IS NULL OR next_retry_at <= %(now)s)
    AND (%(allowed)s::bigint[] IS NULL OR user_id = ANY(%(allowed)s::bigint[]))
ORDER BY {order}
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- name: judge_deliveries
-- Picked rows with what is true of them now: where to send, and why not to.
SELECT
    d.id, d.user_id, d.alert_event_id AS content_id, t.destination, d.attempts, d.send_key, d.place,
    CASE
        WHEN u.id IS NULL OR e.id IS NULL THEN 'no_longer_wanted'
        WHEN e.created_at < %(oldest)s THEN 'expired'
        WHEN c.enabled IS FALSE THEN 'no_longer_wanted'
        WHEN COALESCE(t.destination, '') = '' THEN 'missing_destination'
    END AS refusal
FROM picked AS d
LEFT JOIN alert_events AS e ON e.id = d.alert_event_id
LEFT JOIN users AS u ON u.id = d.user_id
CROSS JOIN LATERAL (SELECT {destination} AS destination) AS t
LEFT JOIN user_alert_channels AS c ON c.user_id = d.user_id AND c.channel = d.channel

-- name: judge_digests
-- The same for digests: an empty one is not wanted, and one that is three windows late has expired.
SELECT
    d.id, d.user_id, d.id AS content_id, t.destination, d.attempts, d.send_key, d.place,
    CASE
        WHEN u.id IS NULL THEN 'no_longer_wanted'
        WHEN d.window_end + 3 * (d.window_end - d.window_start) < %(now)s THEN 'expired'
        WHEN c.enabled IS FALSE THEN 'no_longer_wanted'
        WHEN NOT EXISTS (SELECT FROM user_alert_digest_items AS i WHERE i.digest_id = d.id) THEN 'no_longer_wanted'
        WHEN COALESCE(t.destination, '') = '' THEN 'missing_destination'
    END AS refusal
FROM picked AS d
LEFT JOIN users AS u ON u.id = d.user_id
CROSS JOIN LATERAL (SELECT {destination} AS destination) AS t
LEFT JOIN user_alert_channels AS c ON c.user_id = d.user_id AND c.channel = d.channel

-- name: claim
-- Make picked rows (`due` or `unknown`) this run's, those of a request under one key, or skip those that have
-- a refusal. A new request is made of %(per_request)s rows that follow each other; its number ends its key,
-- which begins as a random one does.
WITH picked AS (
    SELECT *, row_number() OVER (ORDER BY {order}) AS place FROM ({picked}) AS p
),

judged AS (
    {judged}
),

claimed AS MATERIALIZED (
    SELECT
        *, CASE
            WHEN refusal IS NULL
                THEN COALESCE(send_key, (%(key_prefix)s || lpad(to_hex((place - 1) / %(per_request)s), 12, '0'))::uuid)
        END AS key
    FROM judged
),

ours AS (
    UPDATE {table} AS d
    SET status = CASE WHEN r.refusal IS NULL THEN 'sending' ELSE 'skipped' END,
        failure_reason = r.refusal, claimed_by = %(run_id)s, claimed_at = %(now)s, send_key = r.key,
        send_key_at = CASE WHEN r.refusal IS NULL THEN COALESCE(d.send_key_at, %(now)s) END,
        send_provider = CASE WHEN r.refusal IS NULL THEN %(provider)s END
    FROM claimed AS r
    WHERE d.id = r.id
)

SELECT id, user_id, content_id, destination, attempts, key, send_key IS NOT NULL AS repeated, refusal
FROM claimed
ORDER BY place

-- name: record_sent
-- What nearly all rows become; see `record`, of which this is the short form. No index serves
-- IS NOT DISTINCT FROM, so rows are looked up by id, rather than all that are sending read for each. The key tells
-- one claim of a row from the next: a result that is written late, or twice, must not end another request.
UPDATE {table} AS d
SET status = 'sent', failure_reason = NULL, attempts = r.attempts, next_retry_at = NULL, last_error = NULL,
    provider_message_id = COALESCE(r.provider_message_id, d.provider_message_id), sent_at = %(now)s,
    send_key = NULL, send_key_at = NULL, send_provider = NULL
FROM unnest(
    %(id)s::bigint[], %(key)s::uuid[], %(attempts)s::int[], %(provider_message_id)s::text[]
) AS r (id, key, attempts, provider_message_id)
WHERE d.id = r.id AND d.status IS NOT DISTINCT FROM 'sending' AND d.claimed_by = %(run_id)s
    AND d.send_key IS NOT DISTINCT FROM r.key

-- name: record
-- Write what became of claimed rows; only the run that claimed a row may. The key stays on rows whose
-- outcome is unknown, `claimed_by` and the reason on finished ones.
UPDATE {table} AS d
SET status = r.status, failure_reason = CASE WHEN r.status <> 'queued' THEN r.reason END,
    attempts = r.attempts, next_retry_at = r.next_retry_at::timestamptz, last_error = r.detail,
    provider_message_id = COALESCE(r.provider_message_id, d.provider_message_id),
    sent_at = CASE WHEN r.status = 'sent' THEN %(now)s ELSE d.sent_at END,
    claimed_by = CASE WHEN r.status = 'queued' THEN NULL ELSE d.claimed_by END,
    send_key = CASE WHEN r.keep_key THEN d.send_key END,
    send_key_at = CASE WHEN r.keep_key THEN d.send_key_at END,
    send_provider = CASE WHEN r.keep_key THEN d.send_provider END
FROM unnest(
    %(id)s::bigint[], %(key)s::uuid[], %(status)s::text[], %(reason)s::text[], %(attempts)s::int[], %(next_retry_at)s::timestamptz[],
    %(detail)s::text[], %(provider_message_id)s::text[], %(keep_key)s::boolean[]
) AS r (id, key, status, reason, attempts, next_retry_at, detail, provider_message_id, keep_key)
WHERE d.id = r.id AND d.status IS NOT DISTINCT FROM 'sending' AND d.claimed_by = %(run_id)s
    AND d.send_key IS NOT DISTINCT FROM r.key

-- name: held
-- Those of these rows that somebody else holds.
WITH free AS MATERIALIZED (
    SELECT id FROM {table} WHERE id = ANY(%(ids)s::bigint[]) FOR NO KEY UPDATE SKIP LOCKED
)

SELECT id FROM {table} WHERE id = ANY(%(ids)s::bigint[]) AND id NOT IN (SELECT id FROM free)

-- name: give_back
-- Requests that made up an outage get their attempt back and are due again.
UPDATE {table} AS d
SET status = 'queued', attempts = greatest(d.attempts - o.times, 0), next_retry_at = NULL, failure_reason = NULL,
    claimed_by = NULL
FROM (SELECT id, count(*)::int AS times FROM unnest(%(ids)s::bigint[]) AS id GROUP BY id) AS o
WHERE d.id = o.id AND (d.status = 'queued' OR d.status = 'failed' AND d.failure_reason = ANY(%(outages)s::text[]))
RETURNING d.id

-- name: move_telegram
-- A group that became a supergroup has a new chat id.
UPDATE users SET telegram_chat_id = %(new)s WHERE id = %(user_id)s AND telegram_chat_id = %(old)s

-- name: expire_held_deliveries
-- Instants of channels that are not configured expire like others; a chunk at a time.
UPDATE user_alert_deliveries AS d
SET status = 'skipped', failure_reason = 'expired', send_key = NULL
FROM (
    SELECT q.id
    FROM user_alert_deliveries AS q
    JOIN alert_events AS e ON e.id = q.alert_event_id
    WHERE q.channel = ANY(%(channels)s) AND q.status = 'queued' AND {ours} AND e.created_at < %(oldest)s
        AND (%(allowed)s::bigint[] IS NULL OR q.user_id = ANY(%(allowed)s::bigint[]))
    LIMIT %(limit)s
    FOR UPDATE OF q SKIP LOCKED
) AS old
WHERE d.id = old.id
RETURNING d.channel

-- name: expire_held_digests
-- The same for digests.
UPDATE user_alert_digests AS d
SET status = 'skipped', failure_reason = 'expired', send_key = NULL
FROM (
    SELECT q.id
    FROM user_alert_digests AS q
    WHERE q.channel = ANY(%(channels)s) AND q.status = 'queued' AND {ours}
        AND q.window_end + 3 * (q.window_end - q.window_start) < %(now)s
        AND (%(allowed)s::bigint[] IS NULL OR q.user_id = ANY(%(allowed)s::bigint[]))
    LIMIT %(limit)s
    FOR UPDATE OF q SKIP LOCKED
) AS old
WHERE d.id = old.id
RETURNING d.channel

-- name: count_left
-- Queued rows a channel, and how many of them are due.
SELECT channel, count(*) AS queued, count(*) FILTER (WHERE next_retry_at IS NULL OR next_retry_at <= %(now)s) AS due
FROM {table}
WHERE status = 'queued' AND {ours} AND channel IN ('email', 'telegram', 'sms')
    AND (%(allowed)s::bigint[] IS NULL OR user_id = ANY(%(allowed)s::bigint[]))
GROUP BY channel
