"""What a status page knows of a component that nothing judges."""

from __future__ import annotations

from pathlib import Path

from judge_build import document, telemetry, works

from tocsin.engine.status_pages import StatusPages

PAGE = """
apiVersion: tocsin/v1
kind: StatusPage
metadata: {name: public}
spec: {components: [{name: Answers, service: chat}]}
---
"""
ERRORS = """
apiVersion: tocsin/v1
kind: Detector
metadata: {name: errors}
spec: {service: chat, use: count_scan, indicator: {use: availability}}
"""


def test_a_component_is_known_only_when_something_judges_its_service(tmp_path: Path) -> None:
    text = document("type: length\nmin_words: 1") + PAGE
    with telemetry(tmp_path) as store, works(store, text) as shop:
        shop.calls(["One", "Two"])
        [unjudged] = StatusPages(shop.house).page("public").components
        assert unjudged.unknown == "no objective and no detector judges it"
        assert any(day.total for day in unjudged.days), "its days are shown all the same"
        shop.use(text + ERRORS)
        [judged] = StatusPages(shop.house).page("public").components
        assert judged.unknown == "no telemetry was read for this minute", "its detector says so"
