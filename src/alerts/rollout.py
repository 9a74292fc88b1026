"""Rollout controls: who may be reached (I4) and how many messages a run may have accepted (I5). No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the environment allows, narrowed by the flags of this run. A flag never widens."""

    environment: frozenset[int] | None
    flag: frozenset[int] | None
    max_send: int

    @classmethod
    def combine(
        cls,
        allowlist: frozenset[int] | None,
        max_send: int,
        flag_allowlist: frozenset[int] | None = None,
        flag_max_send: int | None = None,
    ) -> Rollout:
        cap = max_send if flag_max_send is None else min(max_send, flag_max_send)
        return cls(allowlist, flag_allowlist, cap)

    @property
    def allowed(self) -> frozenset[int] | None:
        """The users that may be reached; None: everybody."""
        if self.environment is None or self.flag is None:
            return self.flag if self.environment is None else self.environment
        return self.environment & self.flag

    @property
    def allowed_ids(self) -> list[int] | None:
        """`allowed` for SQL: `%(allowed)s::bigint[] IS NULL OR user_id = ANY(%(allowed)s::bigint[])`."""
        return None if self.allowed is None else sorted(self.allowed)

    @property
    def narrowed(self) -> bool:
        """Whether the flag leaves out somebody whom the environment allows."""
        return self.flag is not None and self.allowed != self.environment

    def document(self) -> dict[str, object]:
        return {"allowlist_active": self.allowed is not None, "max_send_per_run": self.max_send}


class SendBudget:
    """The circuit breaker of one run, shared by all channels.

    A place is reserved before a row is claimed and settled when its outcome is known. Only what is left
    beside everything accepted and everything under way can be reserved, so at most `cap` messages are
    accepted, however many are in flight.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._accepted = 0
        self._under_way = 0

    @property
    def spent(self) -> bool:
        """Whether the cap is reached for good; places under way may still come back."""
        return self._accepted >= self._cap

    def reserve(self, wanted: int) -> int:
        """Take up to `wanted` places; the number taken."""
        taken = max(min(wanted, self._cap - self._accepted - self._under_way), 0)
        self._under_way += taken
        return taken

    def settle(self, places: int, accepted: int) -> None:
        """Of `places` reserved, `accepted` were (or may have been) accepted; the others come back."""
        self._under_way -= places
        self._accepted += accepted
