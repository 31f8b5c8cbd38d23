"""What people do about an incident, step by step, as its page lists it.

Tocsin does none of the steps. It says what it knows of a check, and whoever is to be told when a
playbook is asked for is told with the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tocsin.routing.policy import Playbook

# Checks that the evidence of an incident answers.
ANSWERED = frozenset({"provider_green", "dependencies"})


def checklist(playbook: Playbook, evidence: Mapping[str, Any]) -> list[str]:
    """The steps of a playbook in words, numbered, with what evidence says of its checks."""
    known = _known(evidence)
    return [
        f"{playbook.name} {number}: {step.text}{known if step.check in ANSWERED else ''}"
        for number, step in enumerate(playbook.steps, start=1)
    ]


def with_playbooks(
    names: Sequence[str], playbooks: Mapping[str, Playbook], evidence: Mapping[str, Any]
) -> dict[str, Any]:
    """Evidence that shows the playbooks of these names; empty when there are none."""
    asked = [playbooks[name] for name in names if name in playbooks]
    steps = [step for playbook in asked for step in checklist(playbook, evidence)]
    links = {f"Playbook {p.name}": p.link for p in asked if p.link}
    found: dict[str, Any] = {"playbook": steps} if steps else {}
    return {**found, "links": {**evidence.get("links", {}), **links}} if links else found


def _known(evidence: Mapping[str, Any]) -> str:
    said = [str(line) for line in evidence.get("dependencies", ())]
    if evidence.get("provider_note"):
        said.append(str(evidence["provider_note"]))
    return f" ({'; '.join(said)})" if said else " (nothing is known of it)"
