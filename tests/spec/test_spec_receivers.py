"""Receivers: settings of every channel, secrets that stay outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tocsin.delivery.channels import CHANNELS
from tocsin.delivery.channels.email import EmailConfig
from tocsin.delivery.channels.pagerduty import PagerDutyConfig
from tocsin.delivery.channels.slack import SlackConfig
from tocsin.domain.errors import SpecError
from tocsin.spec.desired import Desired, load_text, restore
from tocsin.spec.inspection import inspect

KEY = "k" * 32
PAGER = "{type: pagerduty, routing_key: {secret: PD_KEY}}"


def document(spec: str) -> str:
    return f"apiVersion: tocsin/v1\nkind: Receiver\nmetadata: {{name: r}}\nspec: {spec}\n"


def load(spec: str, secrets: Mapping[str, str] | None = None) -> Desired:
    return load_text(document(spec), "f.yaml", None if secrets is None else secrets.get)


def config(spec: str, secrets: Mapping[str, str] | None = None) -> Any:
    channel: Any = load(spec, secrets).receivers["r"].channel
    return None if channel is None else channel.config


def problems_of(spec: str, secrets: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(spec, secrets)
    return [str(problem) for problem in caught.value.problems]


def test_lint_refuses_what_plan_refuses_and_says_what_it_did_not_look_up(tmp_path: Path) -> None:
    written = [
        "{type: pagerduty}", PAGER, "{type: slack, channel: C1}", "{type: slack, tokn: 1}",
        "{type: slack, channel: {secret: CH, default: C1}, token: {secret: TOKEN}}",
    ]  # fmt: skip
    (tmp_path / "f.yaml").write_text("---\n".join(map(document, written)))
    found, unreadable = inspect([tmp_path], by_the_book=False)
    assert not unreadable
    verdicts = [(one.verdict.is_accepted, one.verdict.faults, one.verdict.notes) for one in found]
    for (accepted, faults, _), spec in zip(verdicts, written, strict=True):
        if accepted:
            load(spec)
        else:
            assert problems_of(spec)[0].split(": ", 2)[2] == next(iter(faults.values()))[0]
    assert [accepted for accepted, *_ in verdicts] == [False, True, False, False, True]
    unresolved = [" ".join(texts) for *_, notes in verdicts for texts in notes.values()]
    fix = "not looked up here, nor what depends on it (tocsin doctor says whether it is set)"
    assert unresolved == [f"PD_KEY: {fix}", f"TOKEN: {fix}"]


def test_references_are_resolved_where_there_is_a_way_to() -> None:
    found = config(PAGER, {"PD_KEY": KEY})
    assert isinstance(found, PagerDutyConfig)
    assert found.routing_key.reveal() == KEY


def test_a_plan_needs_no_secrets() -> None:
    receiver = load(PAGER).receivers["r"]
    assert (receiver.type, receiver.channel) == ("pagerduty", None)
    assert load(PAGER).routing.receivers == {"r": "pagerduty"}


@pytest.mark.parametrize("secrets", [{}, {"PD_KEY": ""}])
def test_a_secret_that_is_not_set_is_named_with_the_fix(secrets: dict[str, str]) -> None:
    assert problems_of(PAGER, secrets) == [
        "f.yaml:4: spec.routing_key: the secret PD_KEY is not set (set the environment variable "
        "PD_KEY, or a file PD_KEY in TOCSIN_SECRETS_DIR)"
    ]


@pytest.mark.parametrize(
    "inline", [KEY, "[k, k]", "{secret: X, default: hunter2}", "{secrets: hunter2}", "12345"]
)
def test_a_secret_in_the_text_is_refused_and_never_repeated(inline: str) -> None:
    (found,) = problems_of(f"{{type: pagerduty, routing_key: {inline}}}", {"X": KEY})
    assert found == (
        "f.yaml:4: spec.routing_key: routing_key is a secret and must not stand in the "
        "configuration (write routing_key: {secret: NAME} and keep the value outside)"
    )


def test_a_secret_does_not_fit_without_being_shown() -> None:
    (found,) = problems_of(PAGER, {"PD_KEY": "hunter2"})
    assert "32 characters" in found
    assert "hunter2" not in found


def test_secrets_are_in_no_text_digest_or_representation() -> None:
    desired = load(PAGER, {"PD_KEY": KEY})
    assert KEY not in desired.text
    assert KEY not in repr(desired)
    assert desired.digest == load(PAGER).digest
    again = restore(desired.text, {"PD_KEY": KEY}.get)
    assert again.receivers == desired.receivers


MAIL = (
    "{type: email, host: {secret: HOST}, port: {secret: PORT, default: 587}, "
    "tls: {secret: TLS, default: starttls}, password: {secret: PW, default: null}, "
    "sender: a@example.com, to: [b@example.com]}"
)


def test_any_setting_may_be_a_reference_and_takes_its_own_type() -> None:
    found = config(MAIL, {"HOST": "mail", "PORT": "2525", "TLS": "none"})
    assert found == EmailConfig(
        host="mail", port=2525, tls="none", sender="a@example.com", to=("b@example.com",)
    )


def test_a_default_holds_where_nothing_is_set() -> None:
    found = config(MAIL, {"HOST": "mail"})
    assert (found.port, found.tls, found.password) == (587, "starttls", None)


def test_a_value_that_does_not_fit_its_setting_is_a_problem_without_the_value() -> None:
    found = problems_of(MAIL, {"HOST": "mail", "PORT": "hunter2", "TLS": "hunter2"})
    assert len(found) == 2
    assert "spec.port: the value of PORT does not fit" in found[0]
    assert "hunter2" not in "".join(found)


def test_a_webhooks_address_may_stand_in_the_text_and_its_key_may_not() -> None:
    text = "{type: webhook, url: https://example.com/hook, secret: whsec_aGVsbG8}"
    (found,) = problems_of(text, {})
    assert "spec.secret: secret is a secret" in found


def test_all_settings_are_checked_at_once() -> None:
    spec = "{type: slack, chanel: '#x', token: xoxb-1, api_url: 5}"
    found = problems_of(spec, {})
    assert len(found) == 3
    assert "unknown field 'chanel' (did you mean 'channel'?)" in "".join(found)
    assert "xoxb-1" not in "".join(found)


def test_what_a_channel_itself_refuses_is_a_problem_of_the_document() -> None:
    (found,) = problems_of("{type: slack}")
    assert found.startswith("f.yaml:4: spec: set either token and channel")


def test_slack_takes_a_bot() -> None:
    found = config("{type: slack, channel: '#a', token: {secret: T}}", {"T": "xoxb-1"})
    assert isinstance(found, SlackConfig)
    assert found.channel == "#a"


@pytest.mark.parametrize("kind", list(CHANNELS))
def test_every_channel_says_what_is_missing(kind: str) -> None:
    try:
        load(f"{{type: {kind}}}")
    except SpecError as error:
        assert all(problem.line == 4 for problem in error.problems)  # noqa: PT017
