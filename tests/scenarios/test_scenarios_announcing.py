"""Deploys reach a pager that wants to know of them, each once and none left out."""

from __future__ import annotations

from pathlib import Path

from world import World, usual

from tocsin.engine.announcing import AT_ONCE, announce


def test_more_changes_than_one_look_takes_are_all_told_and_none_twice(tmp_path: Path) -> None:
    many = AT_ONCE + 30
    changes = [(-n % 100 - 100, "chat", "deploy", f"build {n}") for n in range(many)]
    with World(tmp_path, usual("chat", until=10), changes) as made:
        now = made.clock.now()
        assert [announce(made.house, now) for _ in range(3)] == [AT_ONCE, 30, 0]
