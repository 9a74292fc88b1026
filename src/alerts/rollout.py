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

    `reserve` before a claim, `refund` what was not claimed or was certainly not accepted. What is
    reserved can be accepted, so the sum of accepted, unknown and under way never exceeds the cap.
    """

    def __init__(self, cap: int) -> None:
        self._left = cap

    @property
    def left(self) -> int:
        return self._left

    def reserve(self, wanted: int) -> int:
        """Take up to `wanted` places; the number taken."""
        taken = max(min(wanted, self._left), 0)
        self._left -= taken
        return taken

    def refund(self, places: int) -> None:
        self._left += places
