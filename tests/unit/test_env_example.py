"""`.env.example` names every variable that the settings read and no other, and says what they default to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from dotenv import dotenv_values

from src.settings import read_settings
from tests.process import ROOT


class Asked(Mapping[str, str]):
    """An environment without anything, which remembers what it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def example() -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}


def test_it_names_what_the_settings_read_and_nothing_else() -> None:
    asked = Asked()
    read_settings(asked)
    assert set(example()) == asked.names


def test_it_parses_to_the_defaults_with_a_local_database_and_files_for_messages() -> None:
    settings, errors, warnings = read_settings(example())
    defaults, _, _ = read_settings({})
    assert (errors, warnings) == ([], [])
    assert settings.database_url is not None
    assert settings.database_url.reveal() == "embedded"
    assert replace(settings, database_url=None, transport="live") == defaults
