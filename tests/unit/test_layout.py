"""Imports point one way, and what has one owner has one: read from the source, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import ROOT

# A module (or all below it) → what it may import of this project besides itself.
LAYERS = {
    "src.errors": (),
    "src.settings": ("src.errors",),
    "src.db": ("src.errors", "src.settings"),
    "src.alerts.models": (),
    "src.alerts.messages": ("src.alerts.models",),
    "src.alerts.retry": ("src.alerts.models", "src.alerts.messages", "src.settings"),
    "src.alerts.rollout": ("src.alerts.models", "src.errors", "src.settings"),
    "src.alerts.channels": ("src.alerts.models", "src.alerts.messages", "src.errors", "src.settings"),
}
ABOVE_PHASES = ("pipeline", "preflight", "health", "checks", "runner", "summary")
# What only some may import: package → who.
OWNERS = {
    "psycopg2": ("src.db",),
    "aiohttp": ("src.alerts.channels",),
    "jinja2": ("src.alerts.rendering", "src.api"),
    "rich": ("src.console",),
    "dotenv": ("src.alerts.runner", "src.settings"),
}


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_module(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("src/**/*.py"))}


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES or name == "psycopg2.sql" else str(node.module) for name in names)


def _within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_is_below_it(layer: str) -> None:
    for module in (module for module in MODULES if _within(module, layer)):
        ours = {name for name in _imports(MODULES[module]) if _within(name, "src")}
        assert {name for name in ours if not _within(name, layer, *LAYERS[layer])} == set(), module


def test_phases_know_nothing_of_what_runs_them() -> None:
    above = tuple(f"src.alerts.{name}" for name in ABOVE_PHASES)
    for module in (module for module in MODULES if _within(module, "src.alerts.phases")):
        assert not [name for name in _imports(MODULES[module]) if _within(name, *above, "src.api", "src.console")], (
            module
        )


@pytest.mark.parametrize("package", OWNERS)
def test_a_library_has_one_owner(package: str) -> None:
    used = {module: {name for name in _imports(tree) if name != "psycopg2.sql"} for module, tree in MODULES.items()}
    users = {module for module, names in used.items() if any(_within(name, package) for name in names)}
    assert {module for module in users if not _within(module, *OWNERS[package])} == set()


def test_rules_do_no_input_or_output() -> None:
    for module in ("src.alerts.models", "src.alerts.retry", "src.alerts.rollout"):
        tools = {name.partition(".")[0] for name in _imports(MODULES[module])}
        assert not tools & {"asyncio", "os", "pathlib", "socket", "subprocess", "time", "urllib"}, module


def test_nothing_exits_below_main() -> None:
    for module, tree in MODULES.items():
        for node in (node for node in tree.body if not isinstance(node, ast.If)):
            assert "sys.exit(" not in ast.unparse(node), module


def test_nothing_imports_in_a_circle() -> None:
    graph = {module: {name for name in _imports(tree) if name in MODULES} for module, tree in MODULES.items()}
    while leaves := {module for module, names in graph.items() if not names & graph.keys()}:
        graph = {module: names for module, names in graph.items() if module not in leaves}
    assert graph == {}
