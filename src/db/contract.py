"""What the code needs of the schema, declared: relations, columns, CHECKs, unique constraints, privileges.

Families of types stand for what the code treats alike: an existing database may have `integer` for
`bigint` or `timestamp` for `timestamptz`. Columns, constraints and tables that are not named here are
nobody's business, unless they keep the engine from writing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class Family(Enum):
    """Types that the code treats alike; the first is the one a new column gets."""

    INTEGER = ("bigint", "integer", "smallint")
    NUMBER = ("double precision", "numeric", "real", "integer", "bigint")
    TEXT = ("text", "character varying")
    TEXTS = ("text[]", "character varying[]")
    INTEGERS = ("bigint[]", "integer[]")
    TIME = ("timestamp with time zone", "timestamp without time zone")
    BOOLEAN = ("boolean",)
    JSON = ("jsonb",)
    UUID = ("uuid",)


class Check(NamedTuple):
    """The literals that a CHECK on a column has to name; `required`: there has to be one."""

    column: str
    literals: frozenset[str]
    required: bool = True

    @property
    def condition(self) -> str:
        """As a person would write it."""
        if all(map(str.isdigit, self.literals)):
            return f"{self.column} BETWEEN {min(self.literals)} AND {max(self.literals)}"
        return f"{self.column} IN ({', '.join(repr(word) for word in sorted(self.literals))})"


class Unique(NamedTuple):
    """Columns that together are unique. `own_rows`: the condition under which that is enough."""

    columns: tuple[str, ...]
    own_rows: str | None = None


class Relation(NamedTuple):
    """A table or view, what the code reads and writes in it, and what it relies on. `constraints`: CHECKs on several
    columns by name, each with the migration that makes it."""

    name: str
    columns: Mapping[str, Family]
    privileges: tuple[str, ...] = ("SELECT",)
    checks: tuple[Check, ...] = ()
    unique: tuple[Unique, ...] = ()
    constraints: tuple[tuple[str, str], ...] = ()

    def own_rows_index(self, unique: Unique) -> str:
        """The name that migration 0006 gives to the index it makes."""
        return f"{self.name}_engine_{unique.columns[0]}_key"


def _columns(**families: str) -> dict[str, Family]:
    return {column: Family[family] for family, columns in families.items() for column in columns.split()}


_WRITES = ("SELECT", "INSERT", "UPDATE")
_STATUSES = Check("status", frozenset({"queued", "sending", "sent", "failed", "skipped"}))
_PHASES = Check("phase", frozenset("abcd"), required=False)
_RUN_STATUSES = Check(
    "status", frozenset({"running", "success", "failed", "interrupted", "disabled", "skipped"}), required=False
)
_SENDING = {
    "TEXT": "channel status last_error failure_reason provider_message_id claimed_by send_provider",
    "TIME": "next_retry_at claimed_at created_at sent_at send_key_at",
}

CONTRACT = (
    Relation(
        "users",
        _columns(INTEGER="id", TEXT="email telegram_chat_id phone_number", BOOLEAN="email_verified", TIME="created_at"),
        privileges=("SELECT", "UPDATE"),  # a Telegram group that moves gets its new id
        unique=(Unique(("id",)),),
    ),
    Relation("user_plans", _columns(INTEGER="user_id", TEXT="plan"), unique=(Unique(("user_id",)),)),
    Relation(
        "plan_settings",
        _columns(
            TEXT="plan_code", TEXTS="allowed_alert_types", INTEGER="max_email_alerts_per_day", JSON="delivery_config",
            BOOLEAN="is_active",
        ),
        unique=(Unique(("plan_code",)),),
    ),
    Relation(
        "alert_plan_channels",
        _columns(TEXT="plan_code channel", TEXTS="allowed_alert_types", INTEGER="instants_per_day",
                 BOOLEAN="has_digest hourly"),
    ),
    Relation(
        "user_alert_prefs",
        _columns(INTEGER="user_id", TEXT="region alert_type asset", NUMBER="threshold", BOOLEAN="enabled"),
    ),
    Relation(
        "user_alert_channels",
        _columns(INTEGER="user_id", TEXT="channel delivery_mode", BOOLEAN="enabled"),
        unique=(Unique(("user_id", "channel")),),
    ),
    Relation(
        "events",
        _columns(
            INTEGER="id severity_score", TEXT="title source_name source_url region category ai_summary",
            TIME="event_time inserted_at",
        ),
        unique=(Unique(("id",)), Unique(("source_url",))),
    ),
    Relation(
        "risk_indices",
        _columns(INTEGER="id window_days", TEXT="region trend", NUMBER="risk_score", TIME="calculated_at"),
    ),
    Relation(
        "asset_risk",
        _columns(INTEGER="id window_days", TEXT="asset region direction", NUMBER="risk_score", TIME="calculated_at"),
    ),
    Relation(
        "alert_events",
        _columns(
            INTEGER="id severity", NUMBER="score", TEXTS="scope_assets", INTEGERS="driver_event_ids",
            TEXT="alert_type scope_region headline body cooldown_key event_fingerprint fanout_scope",
            TIME="fanout_completed_at created_at", BOOLEAN="fanout_waived",
        ),
        _WRITES,
        (
            Check("severity", frozenset("15")),
            Check(
                "alert_type",
                frozenset({"HIGH_IMPACT_EVENT", "REGIONAL_RISK_SPIKE", "ASSET_RISK_SPIKE"}),
                required=False,
            ),
        ),
        (Unique(("id",)), Unique(("cooldown_key",)), Unique(("event_fingerprint",))),
    ),
    Relation(
        "user_alert_deliveries",
        _columns(
            INTEGER="id user_id alert_event_id attempts priority", UUID="send_key", BOOLEAN="adopted",
            TEXT=_SENDING["TEXT"] + " delivery_kind", TIME=_SENDING["TIME"],
        ),
        _WRITES,
        (
            _STATUSES,
            Check("channel", frozenset({"email", "telegram", "sms", "account"})),
            Check("delivery_kind", frozenset({"instant", "digest"}), required=False),
        ),
        (
            Unique(("id",)),
            Unique(
                ("alert_event_id", "user_id", "channel", "delivery_kind"),
                "delivery_kind IN ('instant', 'digest') AND channel <> 'account'",
            ),
        ),
        (("user_alert_deliveries_open_check", "0011_open_rows"),),
    ),
    Relation(
        "user_alert_digests",
        _columns(
            INTEGER="id user_id attempts", UUID="send_key", BOOLEAN="adopted",
            TEXT=_SENDING["TEXT"] + " period digest_key", TIME=_SENDING["TIME"] + " window_start window_end",
        ),
        _WRITES,
        (
            _STATUSES,
            Check("channel", frozenset({"email", "telegram"})),
            Check("period", frozenset({"daily", "hourly"})),
        ),
        (Unique(("id",)), Unique(("digest_key",))),
    ),
    Relation(
        "user_alert_digest_items",
        _columns(INTEGER="digest_id delivery_id", BOOLEAN="exclusive", TIME="created_at"),
        _WRITES[:2],
        unique=(Unique(("delivery_id",), "exclusive"),),
    ),
    Relation(
        "alerts_engine_runs",
        _columns(
            INTEGER="id duration_ms", TEXT="run_id triggered_by phase status error_summary git_sha actor",
            TIME="started_at finished_at created_at", BOOLEAN="dry_run", JSON="counts rollout",
        ),
        _WRITES,
        (_RUN_STATUSES, Check("phase", _PHASES.literals | {"all"}, required=False)),
        (Unique(("run_id",)),),
    ),
    Relation(
        "alerts_engine_run_items",
        _columns(
            INTEGER="id duration_ms", TEXT="run_id phase status error_summary", TIME="started_at finished_at",
            JSON="counts",
        ),
        _WRITES[:2],
        (_RUN_STATUSES, _PHASES),
    ),
)  # fmt: skip
