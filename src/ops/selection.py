"""Whom a rollout may reach: users named by id, and a stable share of a plan or of everybody.

Always inside what the environment allows. A share is decided by a hash of a salt and the id, so that
widening it only adds people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from src.db.connection import Session, load_queries
from src.errors import AlertsError, Finding, UsageError
from src.settings import parse_user_ids

MAX_CHOSEN = 5000
"""The ids travel on the runner's command line, of which one argument holds 128 KiB."""
_SALT = "energyriskiq-rollout"
_SQL = load_queries(Path(__file__).parent, "rollout")


class RefusedError(AlertsError):
    """The rollout cannot be what was asked for; nothing was done."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Who was asked for: ids, and `percent` of a plan (of everybody without one)."""

    users: frozenset[int]
    plan: str | None
    percent: Decimal | None

    @classmethod
    def parse(cls, users: Sequence[str], plan: str | None, percent: str | None) -> Selection:
        """Raises UsageError that repeats what is wrong."""
        named: set[int] = set()
        for text in users:
            try:
                named |= parse_user_ids(text)
            except ValueError as error:
                raise UsageError(Finding("usage", f"--user {text!r} is no user id: {error}")) from None
        if not (named or plan or percent):
            raise UsageError(Finding("usage", "say who: --user 42, --plan pro, --percent 5"))
        return cls(frozenset(named), plan, _percent(percent))

    def document(self) -> dict[str, object]:
        """For the run's record."""
        percent = None if self.percent is None else float(self.percent)
        return {"users": sorted(self.users), "plan": self.plan, "percent": percent}

    def resolve(self, session: Session, allowed: frozenset[int] | None) -> list[int]:
        """The ids, sorted. Raises RefusedError for ids that are no users or are not allowed, and for nobody."""
        with session.transaction():
            self._check_names(session, allowed)
            chosen = self.users | self._share(session, allowed)
        if not chosen:
            raise RefusedError(Finding("rollout.nobody", "nobody is both asked for and allowed: widen one of the two"))
        if len(chosen) > MAX_CHOSEN:
            mend = "take a smaller share, or let the schedule do it: widen ALERTS_SEND_ALLOWLIST_USER_IDS"
            raise RefusedError(Finding("rollout.too_many", f"more than {MAX_CHOSEN} users: {mend}"))
        return sorted(chosen)

    def _check_names(self, session: Session, allowed: frozenset[int] | None) -> None:
        unknown = [row.id for row in session.all(_Id, _SQL["unknown_users"], {"ids": sorted(self.users)})]
        if unknown:
            raise RefusedError(Finding("rollout.unknown_user", f"no such user: {_listed(unknown)}"))
        if self.plan and not session.value(_SQL["plan_exists"], {"plan": self.plan}):
            raise RefusedError(Finding("rollout.unknown_plan", f"no such active plan: {self.plan!r}"))
        if allowed is not None and (outside := sorted(self.users - allowed)):
            mend = "ALERTS_SEND_ALLOWLIST_USER_IDS leaves them out; a rollout only narrows it"
            raise RefusedError(Finding("rollout.not_allowed", f"not allowed: {_listed(outside)}: {mend}"))

    def _share(self, session: Session, allowed: frozenset[int] | None) -> frozenset[int]:
        if self.plan is None and self.percent is None:
            return frozenset()
        params = {
            "plan": self.plan,
            "percent": Decimal(100) if self.percent is None else self.percent,
            "allowed": None if allowed is None else sorted(allowed),
            "salt": _SALT,
            "limit": MAX_CHOSEN + 1,
        }
        return frozenset(row.id for row in session.all(_Id, _SQL["share"], params))


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


def _percent(text: str | None) -> Decimal | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,4})?", text) or not 0 < Decimal(text) <= 100:
        raise UsageError(Finding("usage", f"--percent {text!r} must be a number above 0, at most 100"))
    return Decimal(text)


def _listed(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:20]))
    return f"{shown} and {len(ids) - 20} more" if len(ids) > 20 else shown
