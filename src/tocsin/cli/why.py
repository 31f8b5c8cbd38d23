"""`tocsin why`: how it came that somebody was told, from a data directory or a running server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from tocsin.cli.terminal import DataDir, Output, Url, out, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COLOURS = {"same": "green", "differs": "red", "unknown": "yellow"}
_WORDS = {"same": "follows again", "differs": "DOES NOT FOLLOW", "unknown": "cannot be known"}


def why(
    alert: Annotated[str, typer.Argument(help="id of an incident, or fingerprint of an alert")],
    url: Url = None,
    data_dir: DataDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Say which verdict, configuration and rules led to a page, who was called and who answered.

    Every recorded decision is derived again from the ledger. Exit code: 0 all follow, 2 one does
    not or the ledger was changed, 3 one cannot be known, 1 there is no such alert.
    """
    from tocsin.engine.auditing import account
    from tocsin.engine.settings import from_environment

    with told():
        found = account(from_environment(data_dir=data_dir, url=url), alert)
        if output is Output.TEXT:
            for line in _lines(found):
                out.print(line, highlight=False, soft_wrap=True)
        else:
            print(json.dumps(found))  # noqa: T201
        code = 2 if found["chain"] else {"same": 0, "differs": 2, "unknown": 3}[found["answer"]]
        raise typer.Exit(code)


def _lines(why: Mapping[str, Any]) -> Iterator[str]:
    yield f"[bold]{escape(why['title'])}[/]  tier {why['tier']}, {why['state']}, "\
          f"since {why['opened']}  [dim]{escape(why['incident'])}[/]"  # fmt: skip
    yield _judged(why["answer"], why["answer_why"])
    if why["chain"]:
        yield f"[red]the ledger was changed[/] {escape(why['chain'])}"
    for alert in why["alerts"]:
        yield from _alert(alert)
    if why["policy"]:
        yield f"\n[bold]on call[/]  {escape(why['policy'])}"
        yield "  " + _judged(why["calls_again"]["answer"], why["calls_again"]["why"])
        yield from (f"    [red]{escape(text)}[/]" for text in why["calls_again"]["differences"])
        yield from (f"  {escape(_call(call))}" for call in why["calls"])
    yield "\n[bold]sent[/]" + ("" if why["messages"] else "  nothing")
    yield from (f"  {escape(_message(message))}" for message in why["messages"])
    yield "\n[bold]answered[/]" + ("" if why["answers"] else "  by nobody")
    for one in why["answers"]:
        yield f"  {one['at']}  {escape(one['actor'])}: {escape(one['text'])}"
    for config in why["configs"]:
        since = f"in force since {config['at']} by {config['actor']}" if config["at"] else ""
        yield f"\n[bold]configuration[/]  {config['digest']}"
        yield f"  {escape(': '.join(part for part in (since, config['reason']) if part))}"


def _alert(alert: Mapping[str, Any]) -> Iterator[str]:
    verdict = alert["verdict"]
    name = verdict["monitor"] if verdict else "alert"
    yield f"\n[bold]{escape(name)}[/]  [dim]{alert['fingerprint']}[/]"
    if verdict:
        yield f"  {verdict['at']}  {escape(verdict['reason'])}"
        yield "  " + escape(" ".join(f"{k}={v}" for k, v in verdict["labels"].items()))
    for decision in alert["decisions"]:
        word = "held back" if decision["suppressed_by"] else "decided"
        yield f"  {decision['at']}  {word}: {escape(decision['reason'])}"
        again = decision["again"]
        yield "    " + _judged(again["answer"], again["why"])
        yield from (f"      [red]{escape(text)}[/]" for text in again["differences"])
        if decision["facts"]:
            facts = ", ".join(f"{k} {v:.6g}" for k, v in decision["facts"].items())
            yield f"    [dim]facts: {escape(facts)}; ledger entry {decision['entry']}[/]"
        for tried in again["tried"]:
            mark = "[green]yes[/]" if tried["matched"] else "[dim] no[/]"
            effect = f"  {escape(tried['effect'])}" if tried["effect"] else ""
            yield f"    {mark}  {tried['stage']:8} {escape(tried['rule'])}{effect}"


def _judged(answer: str, words: str) -> str:
    return f"[{_COLOURS[answer]}]{_WORDS[answer]}[/]  {escape(words)}"


def _call(call: Mapping[str, Any]) -> str:
    unit, length = ("s", 1) if call["after_s"] % 60 else ("min", 60)
    after = f"after {call['after_s'] / length:g} {unit}" if call["after_s"] else "at once"
    if call["repeat"]:
        return f"{after}: begins again, {call['repeat']} times"
    through = f"through {', '.join(call['receivers']) or 'nothing'}"
    if not call["who"]:
        return f"{after}: {through}"
    people = f"{', '.join(call['people']) or 'nobody'} ({', '.join(call['who'])})"
    gap = f"; gap: {call['gap']}" if call["gap"] else ""
    return f"{after}: {people} {through}{gap}"


def _message(message: Mapping[str, Any]) -> str:
    people = f" for {', '.join(message['people'])}" if message["people"] else ""
    how = message["outcome"] or message["state"]
    tries = f", {message['attempts']} tries" if message["attempts"] > 1 else ""
    detail = f" ({message['detail']})" if message["detail"] else ""
    what = f"{message['at']}  {message['action']} to {message['receiver']}{people}"
    return f"{what}: {how}{tries}{detail}"
