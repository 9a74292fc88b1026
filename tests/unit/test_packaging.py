"""The pinned requirements are those of pyproject.toml, and name no place to get them from."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.process import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
MEND = "stale: run `nox -s requirements`"


def _pins(name: str) -> dict[str, str]:
    """Package → version of a compiled file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, flags=re.MULTILINE))


def _direct(name: str) -> set[str]:
    """The packages that a compiled file lists because pyproject.toml asks for them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^([A-Za-z0-9._-]+)==.*\n((?:    .*\n)*)", text, flags=re.MULTILINE)
    return {package for package, comment in blocks if f"{PROJECT['name']} (pyproject.toml)" in comment}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-api.txt", PROJECT["dependencies"] + EXTRAS["api"]),
        ("requirements-dev.txt", PROJECT["dependencies"] + EXTRAS["api"] + EXTRAS["dev"]),
    ],
)
def test_compiled_requirements_are_current(name: str, wanted: list[str]) -> None:
    requirements = [Requirement(line) for line in wanted]
    pins = _pins(name)
    assert _direct(name) == {requirement.name for requirement in requirements}, MEND
    for requirement in requirements:
        assert requirement.specifier.contains(pins[requirement.name], prereleases=True), MEND


def test_development_pins_the_versions_of_production() -> None:
    assert _pins("requirements.txt").items() <= _pins("requirements-api.txt").items(), MEND
    assert _pins("requirements-api.txt").items() <= _pins("requirements-dev.txt").items(), MEND


def test_cron_installs_nothing_of_the_server() -> None:
    assert not {"fastapi", "pydantic", "starlette", "uvicorn"} & _pins("requirements.txt").keys()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-api.txt", "requirements-dev.txt"])
def test_requirements_carry_hashes_and_no_place(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"^\s*-|://", text.replace("    --hash=", ""), flags=re.MULTILINE)
    assert all(block.count("--hash=sha256:") for block in re.split(r"\n(?=\w)", text)[1:])
