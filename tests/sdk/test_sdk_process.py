"""The SDK in processes of its own: forks, exits, old interpreters, what it must never import."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest
from sdk_build import ROOT, SDK, Listener, environment, free_port, run_python

MODULES = sorted((SDK / "tocsin_sdk").glob("*.py"))
HEAVY = {"tocsin", "numpy", "pyarrow", "chdb", "pydantic", "httpx", "requests", "opentelemetry"}
LARGEST_WHEEL = 60_000


def test_a_process_that_ends_sends_what_it_holds(listener: Listener) -> None:
    done = run_python("import tocsin_sdk; tocsin_sdk.log_call(model='m')", TOCSIN_URL=listener.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [row["model"] for row in listener.rows()] == ["m"]


def test_a_process_ends_soon_with_the_server_away_and_says_what_was_lost() -> None:
    began = time.monotonic()
    done = run_python(
        "import tocsin_sdk, atexit\n"
        "tocsin_sdk.init(at_exit=0.3)\n"
        "for _ in range(5): tocsin_sdk.log_call(model='m')",
        TOCSIN_URL=f"http://127.0.0.1:{free_port()}",
    )
    assert done.returncode == 0
    assert "undelivered" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60  # a bound on hanging, not a measurement


def test_a_forked_child_sends_its_own_and_only_its_own(listener: Listener) -> None:
    done = run_python(
        """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a process with threads forks
import tocsin_sdk
tocsin_sdk.init(linger=30.0)          # nothing is sent before the flush
tocsin_sdk.log_call(model="parent, before")
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        tocsin_sdk.log_call(model=f"child {number}")
        assert tocsin_sdk.stats().recorded == 1, tocsin_sdk.stats()
        assert tocsin_sdk.flush(20)
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
tocsin_sdk.log_call(model="parent, after")
assert tocsin_sdk.flush(20)
assert tocsin_sdk.stats().delivered == 2
""",
        TOCSIN_URL=listener.url,
    )
    assert done.returncode == 0, done.stderr
    models = sorted(row["model"] for row in listener.rows())
    expected = ["child 0", "child 1", "child 2", "parent, after", "parent, before"]
    assert models == expected


def test_importing_it_imports_nothing_heavy() -> None:
    done = run_python(
        "import sys; before = set(sys.modules); import tocsin_sdk, tocsin_sdk.asgi, "
        "tocsin_sdk.arize, tocsin_sdk.langchain\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        f"assert not new & {HEAVY!r}, new & {HEAVY!r}\n"
        "assert not new - {'tocsin_sdk'} - set(sys.stdlib_module_names), new"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_module_imports_anything_but_the_standard_library(path: Path) -> None:
    optional = {"opentelemetry", "openinference"} if path.name == "langchain.py" else set()
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(str(node.module).split(".")[0])
    assert found <= {"tocsin_sdk", *sys.stdlib_module_names} | optional


def test_the_distribution_depends_on_nothing_and_has_one_version() -> None:
    project = tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == []
    source = (SDK / "tocsin_sdk" / "__init__.py").read_text()
    assert re.findall(r'^__version__ = "(.*)"$', source, re.M) == [project["version"]]


def test_its_wheel_is_small_and_works_in_an_empty_environment(
    tmp_path: Path, listener: Listener
) -> None:
    pytest.importorskip("hatchling")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"],
        cwd=ROOT / "sdk", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.stat().st_size < LARGEST_WHEEL
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "tocsin_sdk/py.typed" in names
    assert {f"tocsin_sdk/{path.name}" for path in MODULES} <= names

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel],
        check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    bare = {k: v for k, v in environment(TOCSIN_URL=listener.url).items() if k != "PYTHONPATH"}
    program = "import tocsin_sdk as t; t.log_call(model='m'); assert t.flush(20); print(t.__file__)"
    done = subprocess.run(
        [python, "-c", program], env=bare, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
    assert [row["model"] for row in listener.rows()] == ["m"]


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_it_works_on_other_pythons(version: str, listener: Listener) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    done = run_python(
        """
import asyncio, tocsin_sdk, tocsin_sdk.asgi, tocsin_sdk.arize, tocsin_sdk.langchain

@tocsin_sdk.observe(content=True)
async def stream(question):
    yield "a"

async def main():
    async for _ in stream("q"):
        pass
    async with tocsin_sdk.call("block") as c:
        c.tokens = (1, 2)
    assert await tocsin_sdk.aflush(20)

asyncio.run(main())
tocsin_sdk.arize.Client(api_key="k").log(prediction_id="p", prediction_label="x")
assert tocsin_sdk.stats().errors == 0
""",
        python=python,
        TOCSIN_URL=listener.url,
    )
    assert done.returncode == 0, done.stderr
    assert len(listener.rows()) == 3


def interpreter(version: str) -> str | None:
    """A Python of this version that runs, whether on the path or kept beside this one."""
    beside = Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python")
    for found in (shutil.which(f"python{version}"), *map(str, sorted(beside))):
        if found is None:
            continue
        asked = subprocess.run(
            [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        if asked.stdout.strip() == version:
            return found
    return None
