"""What a receiver is told: one frozen message that explains itself, rendered at the last moment.

A message is made from the incident as it is when the effect is claimed, not as it was when the
effect was decided, so that nobody is told old news. It says what broke, since when, against which
expectation, which slice explains most of it, what changed just before, whether it is the provider
or us, what is left of the error budget, what to do first, who else knows, and where to look.
Evidence that is missing is left out; evidence that is unknown is said to be unknown.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from tocsin.delivery.figure import Figure
from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.figures import percent
from tocsin.domain.findings import MISSING, Incident, IncidentState, example_calls

SEVERITIES = {1: "critical", 2: "warning", 3: "info"}
_MOST_CALLS = 2
_VERBS = {
    "trigger": "Firing",
    "update": "Update",
    "acknowledge": "Acknowledged",
    "resolve": "Resolved",
    "digest": "Digest",
    "change": "Changed",
    "picture": "Chart",
}


class Occasion(Protocol):
    """The part of an effect that a message is made from."""

    @property
    def key(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def receiver(self) -> str: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Chart:
    """Counts under labels, drawn as bars where a channel can and written out where it cannot."""

    title: str
    bars: tuple[tuple[str, int], ...]

    @property
    def most(self) -> int:
        """The largest count; at least 1."""
        return max([1, *(count for _, count in self.bars)])


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message, where a channel can carry one."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to tell one receiver.

    key: the idempotency key, the same over retries. at: when this try is made. action: trigger |
    update | acknowledge | resolve | digest | change | picture | reply. subject: what messages about
    the same thing share (the incident id, or the digest's name). thread: what the receiver calls
    its message about it. evidence: pairs of label and text. items: the lines of a digest; charts:
    what they come to. figure: of a picture. attachments: files, where a channel can carry them.
    answers: words and addresses of links that answer. address: of one subscriber, for whom alone it
    is; unsubscribe: where that one ends it.
    """

    key: str
    at: datetime
    action: str
    subject: str
    title: str
    summary: str
    tier: int = 2
    severity: str = "warning"
    state: str = ""
    service: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    evidence: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    changes: tuple[str, ...] = ()
    runbook: str = ""
    first_steps: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    who: tuple[str, ...] = ()
    mention: str = ""
    note: str = ""
    image: str = ""
    items: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    figure: Figure | None = None
    attachments: tuple[Attachment, ...] = ()
    address: str = ""
    unsubscribe: str = ""
    thread: Mapping[str, Any] | None = None
    answers: tuple[tuple[str, str], ...] = ()

    @property
    def heading(self) -> str:
        """The verb and the title: what a subject line says."""
        return f"{_VERBS.get(self.action, self.action.capitalize())}: {self.title}"

    @property
    def headline(self) -> str:
        """The title and what is wrong, in one sentence."""
        return self.title if self.summary in self.title else f"{self.title}: {self.summary}"

    @property
    def url(self) -> str:
        """The one link to follow; "" if there is none."""
        return self.links[0][1] if self.links else ""

    def text(self) -> str:
        """Plain text, complete."""
        return "\n".join(_lines(self, "{label}: {text}", "{text}: {href}", "  - {item}"))

    def markdown(self) -> str:
        """The same in Markdown; text of others is not interpreted as markup."""
        body = _lines(self, "**{label}:** {text}", "[{text}]({href})", "- {item}", escape=_escaped)
        return "\n".join(body)


def render(
    incident: Incident,
    effect: Occasion,
    links_base: str,
    *,
    at: datetime,
    thread: Mapping[str, Any] | None = None,
    told: Sequence[str] = (),
    answers: tuple[tuple[str, str], ...] = (),
) -> Message:
    """The message that `effect` sends about `incident` as it stands.

    answers: see `Message`.

    links_base: address of the web interface. told: receivers that know of the incident. Evidence
    keys that are missing or of an unexpected kind are tolerated.
    """
    evidence, payload = facts_of(incident), effect.payload
    others = dict.fromkeys([*told, *incident.receivers])
    others.pop(effect.receiver, None)
    return Message(
        key=effect.key,
        at=at,
        action=effect.action,
        subject=incident.id,
        title=incident.title,
        summary=_summary(incident, effect.action, payload),
        tier=incident.tier,
        severity=SEVERITIES.get(incident.tier, "info"),
        state=incident.state.value,
        service=incident.labels.get("service", ""),
        labels=dict(incident.labels),
        since=_since(incident, evidence),
        evidence=_evidence(incident, evidence),
        links=_links(incident, links_base, evidence, effect.action),
        changes=_texts(evidence.get("changes")),
        runbook=_text(evidence.get("runbook")),
        first_steps=(*_texts(evidence.get("first_steps")), *_texts(evidence.get("playbook"))),
        told=tuple(others),
        who=_texts(payload.get("resolved_who") or payload.get("who")),
        mention=_text(payload.get("mention")),
        note=_text(payload.get("note")),
        image=_text(evidence.get("image")),
        thread=thread,
        answers=answers,
    )


def render_digest(effect: Occasion, links_base: str, *, at: datetime) -> Message:
    """The message of a digest, or of a report; its lines were fixed when it became due."""
    payload = effect.payload
    items = _texts(payload.get("items"))
    name = _text(payload.get("digest")) or "digest"
    count = f"{len(items)} {'finding' if len(items) == 1 else 'findings'}"
    return Message(
        key=effect.key,
        at=at,
        action="digest",
        subject=f"digest/{name}",
        title=_text(payload.get("title")) or f"{name}: {count}",
        summary=_text(payload.get("summary")) or f"{count} that did not need anybody at once.",
        tier=3,
        severity="info",
        links=_own_links(payload, links_base) or _all_incidents(links_base),
        items=items,
        charts=tuple(
            Chart(_text(chart["title"]), tuple((str(k), int(n)) for k, n in chart["bars"]))
            for chart in payload.get("charts", ())
        ),
        address=_text(payload.get("address")),
        unsubscribe=_text(payload.get("unsubscribe")),
        attachments=tuple(
            Attachment(_text(each["name"]), gzip.decompress(base64.b64decode(each["gzip"])))
            for each in payload.get("attachments", ())
        ),
    )


def render_drill(effect: Occasion, links_base: str, *, at: datetime) -> Message:
    """A test page: it goes the way of a real one and says in its first words that it is none."""
    return Message(
        key=effect.key,
        at=at,
        action=effect.action,
        subject=f"drill/{effect.payload['drill']}",
        title="Test of Tocsin, nothing is wrong",
        summary="You can be reached here." if effect.action == "trigger" else "The test is over.",
        tier=3,
        severity="info",
        service="tocsin",
        links=(("On call", f"{links_base.rstrip('/')}/oncall"),) if links_base else (),
        note="If you did not get this at its usual time, real pages do not reach you either.",
    )


def render_change(effect: Occasion, links_base: str, *, at: datetime) -> Message:
    """That something was changed: title and service of it, when, and its labels; no incident.

    A label that is an address (`url`, `html_url`) is the link to follow.
    """
    change: Mapping[str, Any] = effect.payload["change"]
    labels = {str(name): str(value) for name, value in change["labels"].items()}
    addresses = [labels[name] for name in ("url", "html_url") if name in labels]
    links = [("Change", href) for href in addresses if href.startswith(("https://", "http://"))]
    service = str(change["service"])
    if links_base and service:
        page = f"{links_base.rstrip('/')}/services/{quote(service, safe='')}"
        links.append(("Service", page))
    return Message(
        key=effect.key,
        at=at,
        action=effect.action,
        subject=f"change/{change['id']}",
        title=str(change["title"]),
        summary=str(change["kind"]),
        tier=3,
        severity="info",
        service=service,
        labels=labels,
        since=parse_iso(str(change["at"])),
        links=tuple(links),
    )


def render_picture(effect: Occasion, links_base: str, *, at: datetime) -> Message:
    """The picture of an incident, for the thread of its first message."""
    kept: Mapping[str, Any] = effect.payload["picture"]
    figure = Figure.from_json(kept["figure"])
    tier, incident = int(kept["tier"]), str(kept["incident"])
    page = f"{links_base.rstrip('/')}/incidents/{quote(incident, safe='')}"
    return Message(
        key=effect.key,
        at=at,
        action=effect.action,
        subject=incident,
        title=str(kept["title"]),
        summary=figure.words(),
        tier=tier,
        severity=SEVERITIES.get(tier, "info"),
        service=str(kept["service"]),
        links=(("Incident", page),) if links_base else (),
        figure=figure,
        thread=kept["thread"],
    )


def short_key(text: str, longest: int) -> str:
    """`text` as a key of at most `longest` (over 33) characters; a long one ends in a hash."""
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{text[: longest - 33]}-{digest}"


def truncate(text: str, limit: int, marker: str = "…") -> str:
    """At most `limit` characters, cut at a character and marked as cut."""
    return text if len(text) <= limit else text[: limit - len(marker)] + marker


def truncate_bytes(text: str, limit: int, marker: str = "…") -> str:
    """At most `limit` bytes of UTF-8, cut at a character and marked as cut."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - len(marker.encode())].decode(errors="ignore") + marker


# --- private -----------------------------------------------------------------------------------


def facts_of(incident: Incident) -> dict[str, Any]:
    """What is known about an incident: its own evidence over that of the alert that leads it."""
    lead = incident.evidence.get("lead")
    facts: dict[str, Any] = {}
    if isinstance(lead, Mapping):
        inner = lead.get("evidence")
        facts.update(inner if isinstance(inner, Mapping) else {})
        facts.update({name: value for name, value in lead.items() if name != "evidence"})
    facts.update(incident.evidence)
    return facts


def _summary(incident: Incident, action: str, payload: Mapping[str, Any]) -> str:
    if action == "acknowledge":
        return f"{incident.acknowledged_by or 'Somebody'} is looking at it."
    if action == "resolve":
        took = incident.resolved - incident.opened if incident.resolved else None
        minutes = f" after {max(1, round(took.total_seconds() / 60))} min" if took else ""
        return f"Over{minutes}."
    news = _text(payload.get("why")) if action == "update" else ""
    if action == "trigger" and incident.state is IncidentState.RECOVERED:
        news = f"{incident.reason}; it is clear again and waits for a person to confirm"
    return news or _text(facts_of(incident).get("reason")) or incident.reason or incident.title


def _since(incident: Incident, evidence: Mapping[str, Any]) -> datetime:
    found = evidence.get("since")
    if isinstance(found, datetime):
        return found
    if isinstance(found, str):
        try:
            return parse_iso(found)
        except ValueError:
            return incident.opened
    return incident.opened


def _evidence(incident: Incident, evidence: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    unit = _text(evidence.get("unit"))
    shown = [
        ("Now", _quantity(evidence, "value", unit)),
        ("Expected", _quantity(evidence, "expected", unit)),
        ("Component", _text(evidence.get("component"))),
        ("Mostly", _text(evidence.get("slice"))),
        ("Changed at", _change_point(evidence)),
        ("Provider or us", _text(evidence.get("provider_note"))),
        ("Depends on", "; ".join(_texts(evidence.get("dependencies")))),
        ("Explains", "; ".join(_texts(evidence.get("children")))),
        ("Error budget left", _share(_either(evidence, "budget_left", "budget_remaining"))),
        ("Burning", _times(_either(evidence, "burn", "burn_long"))),
        ("Not known yet", _text(evidence.get(MISSING))),
        ("Acknowledged by", incident.acknowledged_by),
        ("Route", incident.route),
        ("Described as", _text(evidence.get("description"))),
        ("Runbook", "" if _is_address(runbook := _text(evidence.get("runbook"))) else runbook),
    ]
    return tuple((label, text) for label, text in shown if text)


def _change_point(evidence: Mapping[str, Any]) -> str:
    """The minute at which the rate changed, when one is certain."""
    account = evidence.get("breakdown")
    since = _text(account.get("since")) if isinstance(account, Mapping) else ""
    return f"{since[:16].replace('T', ' ')} UTC" if since else ""


def _is_address(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _either(evidence: Mapping[str, Any], name: str, other: str) -> Any:
    return evidence.get(name, evidence.get(other))


def _quantity(evidence: Mapping[str, Any], name: str, unit: str) -> str:
    if name not in evidence:
        return ""
    value = evidence[name]
    if value is None:
        return "unknown"
    if not _is_number(value):
        return str(value)
    if unit in {"share", "ratio", "fraction"}:
        return percent(value, 3)
    if unit == "ms":
        return f"{value / 1000:.3g} s" if abs(value) >= 1000 else f"{value:.0f} ms"
    return f"{value:.4g} {unit}".strip()


def _share(value: Any) -> str:
    """A remaining budget: 0.25 is "25 %", -1.5 is "none, spent 2.5 times"."""
    if not _is_number(value):
        return _text(value)
    return percent(value, 3) if value > 0 else f"none, spent {1 - value:.3g} times"


def _times(value: Any) -> str:
    return f"{value:.3g} times the sustainable rate" if _is_number(value) else _text(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _texts(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (str(value),)
    return tuple(str(item) for item in value)


def _own_links(payload: Mapping[str, Any], links_base: str) -> tuple[tuple[str, str], ...]:
    """What a payload says to look at: pairs of text and path."""
    if not links_base:
        return ()
    base = links_base.rstrip("/")
    return tuple((_text(text), f"{base}{path}") for text, path in payload.get("links", ()))


def _all_incidents(links_base: str) -> tuple[tuple[str, str], ...]:
    page = f"{links_base.rstrip('/')}/incidents?state=all"
    return (("All incidents", page),) if links_base else ()


def _links(
    incident: Incident, links_base: str, evidence: Mapping[str, Any], action: str
) -> tuple[tuple[str, str], ...]:
    links: list[tuple[str, str]] = []
    if links_base:
        page = f"{links_base.rstrip('/')}/incidents/{quote(incident.id, safe='')}"
        links.append(("Incident", page))
        if action != "resolve":
            calls = example_calls(evidence)[:_MOST_CALLS]
            links += [
                ("A call that shows it", f"{links_base.rstrip('/')}/calls/{c}") for c in calls
            ]
        else:
            links.append(("Was it worth telling you?", f"{page}#act"))
    runbook = _text(evidence.get("runbook"))
    if _is_address(runbook):
        links.append(("Runbook", runbook))
    theirs = _text(evidence.get("link"))
    if _is_address(theirs):
        links.append((f"In {incident.labels.get('source') or 'its monitor'}", theirs))
    more = evidence.get("links")
    if isinstance(more, Mapping):
        links += [(str(text), str(href)) for text, href in more.items()]
    return tuple(links)


def _lines(message: Message, pair: str, link: str, bullet: str, *, escape: Any = str) -> list[str]:
    lines = [escape(message.heading), escape(message.summary), ""]
    facts = [*message.evidence]
    if message.since is not None:
        facts.insert(0, ("Since", iso(message.since)))
    if message.who:
        facts.append(("For", ", ".join(message.who)))
    if message.told:
        facts.append(("Also told", ", ".join(message.told)))
    if message.note:
        facts.append(("Note", message.note))
    lines += [pair.format(label=label, text=escape(text)) for label, text in facts]
    for label, items in (
        ("Just before", message.changes),
        ("First steps", message.first_steps),
        ("Findings", message.items),
    ):
        if items:
            lines.append(pair.format(label=label, text="").rstrip())
            lines += [bullet.format(item=escape(item)) for item in items]
    for chart in message.charts:
        lines.append(pair.format(label=chart.title, text="").rstrip())
        lines += [bullet.format(item=escape(f"{name}: {count}")) for name, count in chart.bars]
    addresses = (*message.answers, *message.links)
    lines += [link.format(text=escape(text), href=href) for text, href in addresses]
    return lines


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in text)
