"""Silences, maintenance windows and inhibition."""

from __future__ import annotations

from datetime import timedelta

from alerts_build import START, at

from tocsin.alerts.inhibit import Inhibited, Inhibition, Values, inhibited
from tocsin.alerts.silence import SilenceWindow, silenced, suppressions
from tocsin.domain.errors import TocsinError

DOWN = {"signal": "down", "service": "bot", "env": "prod"}
SLOW = {"signal": "slow", "service": "bot", "env": "prod"}


def has(**labels: str):
    return lambda values: all(values.get(name, "") == value for name, value in labels.items())


def breaks(values: Values) -> bool:
    raise TocsinError("this rule cannot be applied")


RULE = Inhibition("down explains slow", has(signal="down"), has(signal="slow"), ("service", "env"))


def test_an_alert_is_inhibited_while_the_one_that_explains_it_fires() -> None:
    assert inhibited({"d": DOWN, "s": SLOW}, [RULE]) == {
        "s": (Inhibited("down explains slow", "d", True),)
    }
    assert inhibited({"s": SLOW}, [RULE]) == {}


def test_all_equal_labels_must_be_equal() -> None:
    assert not inhibited({"d": {**DOWN, "env": "staging"}, "s": SLOW}, [RULE])
    assert not inhibited({"d": {**DOWN, "service": "x"}, "s": SLOW}, [RULE])


def test_a_missing_label_equals_an_empty_one_and_another_missing_one() -> None:
    down = {"signal": "down", "service": "bot"}
    assert inhibited({"d": down, "s": {"signal": "slow", "service": "bot", "env": ""}}, [RULE])
    assert inhibited({"d": down, "s": {"signal": "slow", "service": "bot"}}, [RULE])
    assert not inhibited({"d": down, "s": SLOW}, [RULE])


def test_two_alerts_that_match_both_sides_do_not_inhibit_each_other() -> None:
    both = Inhibition("all", has(service="bot"), has(service="bot"), ("service",))
    assert not inhibited({"d": DOWN, "s": SLOW}, [both])
    assert not inhibited({"d": DOWN}, [both])


def test_an_alert_that_matches_both_sides_is_inhibited_by_one_that_is_source_only() -> None:
    rule = Inhibition("x", has(service="bot"), has(signal="slow"))
    assert set(inhibited({"d": DOWN, "s": SLOW}, [rule])) == {"s"}
    assert not inhibited({"s": SLOW, "t": {**SLOW, "segment": "a"}}, [rule])


def test_a_rule_that_cannot_be_applied_inhibits_nothing() -> None:
    assert not inhibited({"d": DOWN, "s": SLOW}, [Inhibition("x", breaks, has(signal="slow"))])
    assert not inhibited({"d": DOWN, "s": SLOW}, [Inhibition("x", has(signal="down"), breaks)])


def window(name: str = "w", minutes: int = 60, **given: object) -> SilenceWindow:
    fields: dict[str, object] = {
        "name": name, "matches": has(service="bot"), "start": START,
        "stop": START + timedelta(minutes=minutes),
    }  # fmt: skip
    return SilenceWindow(**{**fields, **given})  # type: ignore[arg-type]


def test_a_silence_holds_from_its_start_up_to_but_not_including_its_end() -> None:
    assert silenced(SLOW, [window()], at(-1)) == ""
    assert silenced(SLOW, [window()], at(0)) == "silence:w"
    assert silenced(SLOW, [window()], at(59.9)) == "silence:w"
    assert silenced(SLOW, [window()], at(60)) == ""


def test_maintenance_is_named_before_a_silence() -> None:
    windows = [window(), window("upgrade", kind="maintenance")]
    assert silenced(SLOW, windows, at(1)) == "maintenance:upgrade"


def test_a_window_that_cannot_be_applied_silences_nothing() -> None:
    assert silenced(SLOW, [window(matches=breaks)], at(1)) == ""
    assert silenced(SLOW, [window(matches=breaks), window("b")], at(1)) == "silence:b"


def test_a_silenced_alert_still_explains_others() -> None:
    quiet = window(matches=has(signal="down"))
    found = suppressions({"d": DOWN, "s": SLOW}, [quiet], [RULE], at(1))
    assert found.muted == {"d": "silence:w", "s": "inhibition:down explains slow"}


def test_a_rule_that_annotates_tells_with_a_note() -> None:
    note = Inhibition("provider", has(signal="down"), has(signal="slow"), mutes=False)
    found = suppressions({"d": DOWN, "s": SLOW}, [], [note], at(1))
    assert found.muted == {}
    assert found.notes == {"s": "probably caused by bot down (provider)"}
