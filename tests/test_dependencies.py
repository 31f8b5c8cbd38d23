"""What the code imports is what its distribution asks for; a fresh installation has no more."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def brought_by(requirements: list[str]) -> set[str]:
    """These distributions and what they require without extras, by normalised name (PEP 503)."""
    found: set[str] = set()
    pending = [name_of(each) for each in requirements]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another platform or version of Python
            continue
        pending += [name_of(each) for each in required if "extra ==" not in each]
    return found


def imported() -> dict[str, str]:
    """Top-level package -> a module that imports it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "src" / "tocsin").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                found.setdefault(name.partition(".")[0], str(path.relative_to(ROOT)))
    return found


def test_every_imported_package_is_a_declared_dependency() -> None:
    declared = brought_by(PROJECT["dependencies"])
    # An extra stands for the packages that it names, not for what those happen to bring along.
    for extra in PROJECT["optional-dependencies"].values():
        declared |= {name_of(each) for each in extra}
    providers = metadata.packages_distributions()
    undeclared = {
        package: where
        for package, where in imported().items()
        if package not in sys.stdlib_module_names
        and package != "tocsin"
        and not declared & {name_of(each) for each in providers.get(package, [])}
    }
    assert not undeclared, "add it to dependencies in pyproject.toml, with its reason in 0008"
