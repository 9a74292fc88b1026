"""Every code that a preflight or health document can hold: what it means and how to mend it.

Codes are stable: scripts and the operator's guide rely on them. The texts in documents say more about the
case at hand; a test compares this table with the code and with the guide.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    meaning: str
    mend: str


_MIGRATE = "run `invoke db.migrate`; if the ledger is current, restore what the message names"

CODES = {
    "adoption.duplicates": Code(
        "rows stand in the way of a unique index that a migration makes", "mend them with the SQL in the message"
    ),
    "adoption.held_back": Code(
        "messages left queued or sending from before the engine took over are not sent",
        "leave them, or send them with `invoke db.migrate --include-old`",
    ),
    "allowlist.malformed": Code(
        "`ALERTS_SEND_ALLOWLIST_USER_IDS` is not a list of user ids", "set ids such as `42,43`, or unset it"
    ),
    "channel.none_configured": Code(
        "phase c is to send and no channel is configured", "set the variables of one channel"
    ),
    "config.invalid": Code("a variable does not parse", "set it as the message says"),
    "config.timezone_unknown": Code(
        "`ALERTS_TIMEZONE` is not a known time zone; Europe/Amsterdam is used", "set an IANA name"
    ),
    "config.url_unusable": Code("a base URL is no http(s) URL and is not used", "correct or unset it"),
    "database.canceled": Code("a statement was cancelled or took too long", "run again; look for locks"),
    "database.disk_full": Code("the server's disk is full", "free space, then run again"),
    "database.embedded_missing": Code(
        "the embedded server is not installed", "install requirements-dev.txt, or use a PostgreSQL server"
    ),
    "database.error": Code("PostgreSQL refused a statement", "look up the SQLSTATE; report it if it is not yours"),
    "database.locked": Code("somebody else holds a lock for too long", "look for long transactions, run again"),
    "database.no_access": Code("the role may not read what the engine needs", "grant what the message names"),
    "database.read_only": Code("the database or the role may not write", "use the primary, or grant writing"),
    "database.too_old": Code("PostgreSQL is older than 14", "upgrade the server"),
    "database.unreachable": Code("no connection to the database", "check host, port, role, network; is it up?"),
    "database.url_invalid": Code("`DATABASE_URL` is no connection string", "use `postgresql://user@host:5432/name`"),
    "database.url_missing": Code("`DATABASE_URL` is not set", "set it to a PostgreSQL server"),
    "email.incomplete": Code("email is configured only in part", "set the variables named"),
    "email.not_configured": Code("email is not configured; its messages are held", "set the variables named"),
    "engine.disabled": Code("`ALERTS_V2_ENABLED` is false: runs do nothing", "set it to `true`"),
    "lock.lost": Code("the connection that holds the locks was lost", "run again"),
    "locks.do_not_hold": Code(
        "the pooler lets two runs hold the same lock", "connect directly, or pool in session or transaction mode"
    ),
    "rollout.allowlist_active": Code("only allowed users are reached", "unset the allowlist to reach everybody"),
    "rollout.blast_radius": Code(
        "the run may reach more than ten times what the last live runs did", "make sure, or widen step by step"
    ),
    "rollout.more_than_cap": Code(
        "more users may be reached than a run may send messages", "nothing to do, or raise `ALERTS_MAX_SEND_PER_RUN`"
    ),
    "rollout.unknown_users": Code("allowed ids that are no users", "correct the allowlist"),
    "run.failed": Code("the last run failed", "`invoke runs --run ID` says why"),
    "schedule.no_run": Code("no run has started for three intervals", "see whether the workflow is enabled"),
    "schema.changed_migration": Code("a migration was changed after it was applied", "restore the file"),
    "schema.check_missing": Code("a CHECK is missing", _MIGRATE),
    "schema.check_narrow": Code("a CHECK refuses what the engine writes", _MIGRATE),
    "schema.column_missing": Code("a column is missing", _MIGRATE),
    "schema.column_type": Code("a column has another type", "change it as the message says"),
    "schema.column_unfilled": Code(
        "a column that the engine does not know must be given", "give it a default, or allow nulls"
    ),
    "schema.mismatch": Code("a table, column or function is missing", "run the preflight, which names it"),
    "schema.newer": Code("the database was migrated by newer code", "deploy the newer code"),
    "schema.pending": Code("migrations are not applied", "run `invoke db.migrate`"),
    "schema.sequence_behind": Code(
        "a table has rows beyond its sequence: new rows would be taken for duplicates", "run the SQL in the message"
    ),
    "schema.table_missing": Code("a table or view is missing", _MIGRATE),
    "schema.unique_missing": Code("a unique constraint is missing: alerts could go out twice", _MIGRATE),
    "schema.user_column": Code("`alert_events` names a user, and events are global", "drop that column"),
    "sending.late": Code("the oldest due alert waits for more than 15 minutes", "raise the cap if this lasts"),
    "sending.stopped": Code(
        "messages are due, and none was sent for 30 minutes", "look at the last run's errors and at the schedule"
    ),
    "sending.stuck": Code("messages are claimed and no run sends them", "run phase c, which picks them up"),
    "sending.switched_off": Code(
        "messages are due while sending is switched off", "set `ALERTS_V2_ENABLED` or `ALERTS_MAX_SEND_PER_RUN`"
    ),
    "sms.incomplete": Code("SMS is configured only in part", "set the variables named"),
    "sms.not_configured": Code("SMS is not configured; its messages are held", "set the variables named"),
    "telegram.incomplete": Code("Telegram is configured only in part", "set the variables named"),
    "telegram.not_configured": Code("Telegram is not configured; its messages are held", "set the variables named"),
}
