"""A mean that runs away, and a service that falls silent: each a page of its own, in words."""

from __future__ import annotations

from pathlib import Path

from world import CONFIG, Phase, World

COST = """
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: drafts-cost, displayName: A tenth of a cent a draft, labels: {about: money}}
spec:
  service: drafts
  indicator:
    metadata: {name: cost-per-draft}
    spec:
      thresholdMetric:
        metricSource:
          type: Tocsin
          spec: {value: cost_usd, aggregate: mean, expected: 0.0005}
  timeWindow: [{duration: 7d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{op: lte, value: 0.001, target: 0.99}]
---
apiVersion: tocsin/v1
kind: BurnRatePolicy
metadata: {name: money}
spec:
  slos: {matchLabels: {about: money}}
  noData: {alertAfter: 30m}
"""


def test_a_mean_pages_with_its_numbers_and_silence_pages_by_itself(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + COST)
    phases = [
        Phase("drafts", -480, 10),
        Phase("drafts", 10, 60, cost=0.02, tenant="beta"),
        Phase("chat", -480, 120),
    ]
    with World(tmp_path / "data", phases, config=config) as world:
        world.play(59)
        burnt = world.incident("drafts", "slo_breach")
        assert burnt.title
        lead = burnt.evidence["reason"]
        assert "the mean of" in lead
        assert "the objective allows $0.001 and expects $0.0005" in lead
        assert burnt.evidence["unit"] == "x budget"
        assert "tenant beta" in burnt.evidence["slice"], "whose calls cost more"
        (status,) = (s for s in world.house.statuses() if s.monitor == "slo/drafts-cost")
        assert status.standing in ("breached", "inconclusive")
        assert status.remaining is not None
        world.play(95)
        silence = world.incident("drafts", "no_data")
        assert silence.opened > burnt.opened
        assert "no calls in 30 m" in silence.evidence["reason"]
        assert silence.title in world.web.get("/services/drafts").text
        silent = [told for told in world.pages() if "no calls" in str(told.body)]
        assert silent[0].receiver == "pagerduty"
        assert 90 <= silent[0].minute <= 93
