"""A set of OpenSLO documents with every reference written out: each SLO stands for itself.

    SLO             indicatorRef -> indicator, its own and those of its objectives
                    alertPolicies[*].alertPolicyRef -> the policy
    AlertPolicy     conditions[*].conditionRef, notificationTargets[*].targetRef -> the document

What was written out somewhere is left out as a document of its own. A Service stays one, and so
does a DataSource: OpenSLO v1 has no place to write it in, only its type is. All of it is OpenSLO
v1, whichever version it was read as.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tocsin.domain.errors import Problem, SpecError
from tocsin.spec.openslo.upgrade import modern
from tocsin.spec.openslo.verdict import compat
from tocsin.spec.references import dangling, declared
from tocsin.spec.yaml import Located

Data = dict[str, Any]

_ENTRIES = {
    "alertPolicies": ("alertPolicyRef", "AlertPolicy"),
    "conditions": ("conditionRef", "AlertCondition"),
    "notificationTargets": ("targetRef", "AlertNotificationTarget"),
}


def inlined(documents: Iterable[Located]) -> list[Data]:
    """The OpenSLO documents among `documents` as v1 without references, in their order.

    Raises SpecError for documents that are no OpenSLO, and with every reference to something that
    nobody wrote down.
    """
    found = [one for one in documents if _is_openslo(one.data)]
    problems = [problem for one in found for problem in _faults(one)]
    mine = [modern(one) for one in found]
    names = declared(mine)
    # The services of objectives may be ours, or known elsewhere.
    problems += [
        problem
        for one in mine
        for problem in dangling(one, names)
        if problem.path != "spec.service"
    ]
    if problems:
        raise SpecError(problems)
    book = _Book([one.data for one in mine])
    written = [book.document(one.data) for one in mine]
    return [data for data in written if _key(data) not in book.used]


# --------------------------------------------------------------------------------------------


def _is_openslo(data: Any) -> bool:
    version = data.get("apiVersion") if isinstance(data, dict) else None
    return isinstance(version, str) and not version.startswith("tocsin/")


def _faults(document: Located) -> Iterator[Problem]:
    """What is wrong with a document taken by itself."""
    verdict = compat(document.data)
    if verdict.stage == "decode":
        yield document.problem((), verdict.reason)
    for path, texts in verdict.faults.items():
        yield from (Problem(document.file, document.line, path, text) for text in texts)


def _key(data: Data) -> tuple[str, str]:
    return data["kind"], data["metadata"]["name"]


class _Book:
    """Documents by kind and name. used: those that were written into another one."""

    def __init__(self, documents: Sequence[Data]) -> None:
        self._held = {_key(one): one for one in documents}
        self.used: set[tuple[str, str]] = set()

    def document(self, data: Data) -> Data:
        """`data` with its references written out."""
        return {**data, "spec": self._spec(data["kind"], data["spec"])}

    def _spec(self, kind: str, spec: Any) -> Any:
        if not isinstance(spec, dict):
            return spec
        if kind == "SLI":
            return self._sli(spec)
        if kind == "AlertPolicy":
            return self._entries(spec, ("conditions", "notificationTargets"))
        if kind != "SLO":
            return spec
        found = self._entries(self._indicator(spec), ("alertPolicies",))
        objectives = found.get("objectives")
        if isinstance(objectives, list):
            found["objectives"] = [
                self._indicator(one) if isinstance(one, dict) else one for one in objectives
            ]
        return found

    def _indicator(self, owner: Mapping[str, Any]) -> Data:
        """An SLO's spec or an objective, with its indicator."""
        found = dict(owner)
        inline = found.get("indicator")
        if isinstance(inline, dict):
            found["indicator"] = {**inline, "spec": self._spec("SLI", inline.get("spec"))}
        elif ref := found.pop("indicatorRef", None):
            sli = self._use("SLI", ref)
            found["indicator"] = {"metadata": sli["metadata"], "spec": sli["spec"]}
        return found

    def _entries(self, spec: Mapping[str, Any], lists: Sequence[str]) -> Data:
        found = dict(spec)
        for name in lists:
            if isinstance(found.get(name), list):
                found[name] = [self._entry(entry, *_ENTRIES[name]) for entry in found[name]]
        return found

    def _entry(self, entry: Any, reference: str, kind: str) -> Any:
        if not isinstance(entry, dict):
            return entry
        if reference in entry:
            named = self._use(kind, entry[reference])
            return {"kind": kind, "metadata": named["metadata"], "spec": named["spec"]}
        return {**entry, "spec": self._spec(kind, entry.get("spec"))}

    def _use(self, kind: str, name: str) -> Data:
        self.used.add((kind, name))
        return self.document(self._held[kind, name])

    def _sli(self, spec: Mapping[str, Any]) -> Data:
        found = dict(spec)
        if isinstance(found.get("thresholdMetric"), dict):
            found["thresholdMetric"] = self._metric(found["thresholdMetric"])
        ratio = found.get("ratioMetric")
        if isinstance(ratio, dict):
            found["ratioMetric"] = {
                side: self._metric(metric) if isinstance(metric, dict) else metric
                for side, metric in ratio.items()
            }
        return found

    def _metric(self, metric: Mapping[str, Any]) -> Data:
        """A metric that says its type, which its DataSource knows."""
        source = metric.get("metricSource")
        if not isinstance(source, dict):
            return dict(metric)
        known = self._held.get(("DataSource", source.get("metricSourceRef", "")))
        if known is None or source.get("type"):
            return dict(metric)
        return {**metric, "metricSource": {**source, "type": known["spec"].get("type")}}
