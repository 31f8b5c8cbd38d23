"""How calls go: tokens, failures, latency, first token, finish reason, thumbs.

One `Stage` per service turns the calls that arrive in an hour into rows of spans, under whatever
the script has going on at the time. Each hour has its own random stream, so that an hour comes out
the same whoever asks for it and in what pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from tocsin.demo.arrivals import HORIZON_DAYS, Climate, Draft, arrivals, wander
from tocsin.demo.companions import Retrieval, family_spans, retrieve
from tocsin.demo.fleet import FAILURE_MIX, FAILURE_MS, FAILURES, PROVIDERS, Service
from tocsin.demo.script import Effect, Script
from tocsin.demo.spans import (
    FINISHES,
    LLM,
    SCORE,
    Floats,
    Ints,
    Mask,
    Names,
    Rows,
    blank,
)
from tocsin.domain.buckets import INPUT_EXPONENT, OUTPUT_EXPONENT

_STOP, _LENGTH, _TOOLS, _FILTER = (
    FINISHES.index(f) for f in ("stop", "length", "tool_calls", "content_filter")
)
_CALL_SD, _PROVIDER_SD = 0.642, 0.153  # of ln ms: 0.66 together
_TTFT_SD = 0.34
_ERROR_SD = 0.6  # of ln(error rate), per provider and minute
_TOOL_SHARE = 0.15  # of chat answers that call a tool
_FILTERED = 0.0006
_THUMB_MINUTES, _THUMB_SD = 8.0, 1.3  # median and log-sd of how late feedback is
_MAX_INPUT = 200_000


@dataclass(frozen=True)
class Provider:
    """The moods of a provider, by minute: ln of its slowness, and its error rate around 1."""

    slowness: Floats
    trouble: Floats

    @classmethod
    def of(cls, rng: np.random.Generator) -> Provider:
        """Draw both processes from `rng`."""
        minutes = HORIZON_DAYS * 1440
        slowness = wander(rng, minutes, 0.97, _PROVIDER_SD)
        trouble = np.exp(wander(rng, minutes, 0.90, _ERROR_SD) - _ERROR_SD**2 / 2)
        return cls(slowness, trouble)


@dataclass(slots=True)
class Scene:
    """Calls of an hour under the script, column by column as they are decided.

    minute: roughly when each call happens, minutes after the start of the run. Multipliers start
    at 1, probabilities at what is normal.
    """

    draft: Draft
    minute: Floats
    release: Ints
    prompt: Ints
    model: Ints
    effects: Sequence[Effect]
    strength: list[Floats]
    retrieval: Retrieval | None = None
    input: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    output: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    failed: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    cut: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))

    def factor(self, name: str) -> Floats:
        """The product of the script's multipliers `name` on each call."""
        product = np.ones(len(self.draft))
        for effect, strength in zip(self.effects, self.strength, strict=True):
            if name in effect.factors:
                product *= effect.factors[name] ** strength
        return product

    def share(self, name: str, normal: float) -> Floats:
        """The probability `name` on each call: the script moves it from what is normal."""
        value = np.full(len(self.draft), normal)
        for effect, strength in zip(self.effects, self.strength, strict=True):
            if name in effect.shares:
                value += (effect.shares[name] - value) * strength
        return value


class Stage:
    """One service of the fleet at work."""

    def __init__(
        self,
        service: Service,
        names: Names,
        script: Script,
        provider: Provider,
        *,
        start: datetime,
        scale: float,
        seed: Sequence[int],
    ) -> None:
        self.service = service
        self._names = names
        self._script = script
        self._provider = provider
        self._seed = tuple(seed)
        self._origin_ns = int(start.timestamp()) * 1_000_000_000
        self._climate = Climate.of(service, start, scale, np.random.default_rng((*seed, 0)))
        self._code = names.services.code(service.name)
        self._tenants = np.array([names.tenants.code(t.name) for t in service.tenants])
        self._regions = sorted({t.region for t in service.tenants})
        names.tiers.update({t.name: t.tier for t in service.tenants})
        self._scales = np.array([t.input_scale for t in service.tenants])

    def hour(self, hour: int) -> tuple[Rows, Rows]:
        """Spans and scores of the sessions that begin in `hour` after the start of the run."""
        rng = np.random.default_rng((*self._seed, 1, hour))
        acting = self._script.acting(self.service.name, hour * 60.0, hour * 60.0 + 180.0)
        draft = arrivals(self.service, self._climate, acting, hour, rng)
        scene = self._scene(draft, acting, rng)
        if self.service.family == "rag":
            scene.retrieval = retrieve(scene.effects, scene.strength, len(draft), rng)
        self._tokens(scene, rng)
        scene.failed = self._failures(scene, rng)
        ms, ttft = self._latency(scene, rng)
        rows = self._rows(scene, ms, ttft, rng)
        kept = ~self._silenced(rows, acting)
        scores = self._scores(rows, scene, rng)
        everything, keep = family_spans(self.service, self._names, scene.draft, scene.retrieval,
                                        rows, kept, rng)  # fmt: skip
        return everything[keep], scores[np.isin(_ids(scores), _ids(rows[kept]))]

    # ---------------------------------------------------------------------------- the script

    def _scene(self, draft: Draft, acting: Sequence[Effect], rng: np.random.Generator) -> Scene:
        service = self.service
        typical = (
            np.exp(
                service.speed.intercept
                + OUTPUT_EXPONENT * np.log(service.tokens.output)
                + INPUT_EXPONENT * np.log(service.tokens.input)
            )
            / 1000.0
        )
        minute = (draft.begin + draft.turn * (service.sessions.pause_s + typical)) / 60.0
        names = self._names
        scene = Scene(
            draft, minute,
            release=self._setting("release", service.release, names.releases.code, minute, draft),
            prompt=self._setting("prompt", service.prompt, names.prompts.code, minute, draft),
            model=self._setting("model", service.model, self._model, minute, draft),
            effects=acting, strength=[],
        )  # fmt: skip
        scene.strength = [self._strength(effect, scene, rng) for effect in acting]
        return scene

    def _model(self, name: str) -> int:
        return self._names.model(name, PROVIDERS.get(name, PROVIDERS[self.service.model]))

    def _setting(
        self,
        field_name: str,
        initial: str,
        code: Callable[[str], int],
        minute: Floats,
        draft: Draft,
    ) -> Ints:
        value = np.full(minute.size, code(initial))
        for at, step in self._script.steps:
            if step.service == self.service.name and field_name in step.sets:
                moved = minute >= at + step.over * draft.luck
                value[moved] = code(step.sets[field_name])
        return value

    def _strength(self, effect: Effect, scene: Scene, rng: np.random.Generator) -> Floats:
        """How strongly an effect acts on each call: 0 where its limits do not hold."""
        draft, names = scene.draft, self._names
        strength = effect.strength(scene.minute)
        have = {
            "tenant": (self._tenants[draft.tenant], names.tenants.code),
            "model": (scene.model, self._model),
            "release": (scene.release, names.releases.code),
            "prompt": (scene.prompt, names.prompts.code),
        }
        for limit, wanted in effect.limits.items():
            if limit == "region":
                strength = strength * (np.array(self._regions)[draft.region] == wanted)
            else:
                codes, code = have[limit]
                strength = strength * (codes == code(wanted))
        if "share" in effect.shares:
            chosen = rng.random(int(draft.session.max(initial=0)) + 1) < effect.shares["share"]
            strength = strength * chosen[draft.session]
        return np.asarray(strength, dtype=np.float64)

    def _silenced(self, rows: Rows, acting: Sequence[Effect]) -> Mask:
        """Calls nobody made (the service was silent) or whose spans were lost on the way."""
        gone = np.zeros(rows.size, np.bool_)
        for effect in acting:
            for flag, column in ((effect.silent, "start"), (effect.lost, "end")):
                if flag:
                    minute = (rows[column] - self._origin_ns) / 60e9
                    gone |= (minute >= effect.start) & (minute < effect.stop)
        return gone

    # ------------------------------------------------------------------------------ outcomes

    def _tokens(self, scene: Scene, rng: np.random.Generator) -> None:
        tokens, draft, count = self.service.tokens, scene.draft, len(scene.draft)
        median = tokens.input * self._scales[draft.tenant] * (1 + tokens.growth * draft.turn)
        middle = np.full(count, float(tokens.output))
        for number, effect in enumerate(scene.effects):
            mine = draft.batch == number
            median[mine] = effect.batch.get("input", 0.0)
            middle[mine] = effect.batch.get("output", 0.0)
        wanted = np.where(draft.batch >= 0, 0.45, tokens.input_sd) * rng.standard_normal(count)
        given = tokens.output_sd * rng.standard_normal(count)
        median *= scene.factor("input")
        middle *= scene.factor("output")
        if scene.retrieval is not None:
            # Without documents there is less to read and little to say.
            blind = scene.retrieval.useless
            median = np.where(blind, median * 0.35, median)
            middle = np.where(blind, middle * 0.4, middle)
        scene.input = np.clip(median * np.exp(wanted), 8, _MAX_INPUT).astype(np.int64)
        scene.output = np.clip(middle * np.exp(given), 1, tokens.output_max).astype(np.int64)
        cut = scene.share("truncated", self.service.truncated)
        scene.cut = (rng.random(count) < cut) & self.service.streams

    def _failures(self, scene: Scene, rng: np.random.Generator) -> Ints:
        """The outcome code of each call; what the script adds comes on top of what is normal."""
        provider = PROVIDERS[self.service.model]
        catalogue, mix = FAILURES[provider], FAILURE_MIX[provider]
        kinds, weights = list(mix), np.array(list(mix.values()))
        codes = np.array([self._names.outcome(catalogue[k]) for k in kinds])
        place = scene.minute.astype(np.int64) % self._provider.trouble.size
        normal = np.minimum(self.service.errors * self._provider.trouble[place], 0.2)
        count = len(scene.draft)
        drawn = rng.choice(codes, count, p=weights / weights.sum())
        outcome = np.where(rng.random(count) < normal, drawn, 0)
        for effect, strength in zip(scene.effects, scene.strength, strict=True):
            if "errors" in effect.shares:
                hit = rng.random(count) < effect.shares["errors"] * strength
                code = self._names.outcome(catalogue[effect.error_kind])
                outcome = np.where(hit & (outcome == 0), code, outcome)
        return outcome.astype(np.int64)

    def _latency(self, scene: Scene, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Milliseconds to the end and to the first token; NaN where nothing was streamed."""
        speed, count = self.service.speed, len(scene.draft)
        place = scene.minute.astype(np.int64) % self._provider.slowness.size
        mood = self._provider.slowness[place]
        log_ms = (
            speed.intercept
            + OUTPUT_EXPONENT * np.log(scene.output)
            + INPUT_EXPONENT * np.log(scene.input)
            + mood
            + _CALL_SD * rng.standard_normal(count)
            + np.log(scene.factor("pace"))
        )
        ms = np.minimum(np.exp(log_ms), speed.timeout_s * 4000.0)
        log_ttft = 0.12 * np.log(scene.input / 500) + mood + _TTFT_SD * rng.standard_normal(count)
        ttft = speed.ttft_ms * np.exp(log_ttft) * scene.factor("ttft")
        ttft = np.minimum(ttft, ms * rng.uniform(0.3, 0.85, count))
        part = rng.uniform(0.12, 0.85, count)
        scene.output = np.where(scene.cut, np.maximum(scene.output * part, 1), scene.output).astype(
            np.int64
        )
        ms = np.where(scene.cut, ttft + (ms - ttft) * part, ms)
        ms = np.where(scene.failed > 0, self._failure_ms(scene.failed, rng), ms)
        streamed = (scene.failed == 0) & self.service.streams
        return ms, np.where(streamed, ttft, np.nan)

    def _failure_ms(self, failed: Ints, rng: np.random.Generator) -> Floats:
        ms = np.full(failed.size, 300.0)
        noise = rng.standard_normal(failed.size)
        for code in np.unique(failed[failed > 0]):
            failure = self._names.outcomes[code]
            if failure is None:
                continue
            mine = failed == code
            if failure.kind == "timeout":
                ms[mine] = self.service.speed.timeout_s * 1000 * (1 + 0.004 * np.abs(noise[mine]))
            else:
                median, spread = FAILURE_MS[failure.kind]
                ms[mine] = median * np.exp(spread * noise[mine])
        return ms

    # --------------------------------------------------------------------------------- rows

    def _rows(self, scene: Scene, ms: Floats, ttft: Floats, rng: np.random.Generator) -> Rows:
        draft, tokens, count = scene.draft, self.service.tokens, len(scene.draft)
        ok = scene.failed == 0
        rows = blank(count)
        lead = scene.retrieval.lead_ms if scene.retrieval is not None else np.zeros(count)
        start_s = _sequence(draft, (ms + lead) / 1000.0) + lead / 1000.0
        rows["start"] = self._origin_ns + (start_s * 1e9).astype(np.int64)
        rows["end"] = rows["start"] + (ms * 1e6).astype(np.int64)
        rows["ttft"] = np.where(np.isnan(ttft), -1, np.nan_to_num(ttft) * 1e6).astype(np.int64)
        rows["kind"], rows["service"] = LLM, self._code
        rows["tenant"] = self._tenants[draft.tenant]
        regions = np.array([self._names.regions.code(r) for r in self._regions])
        rows["region"] = regions[draft.region]
        rows["release"], rows["prompt"], rows["model"] = scene.release, scene.prompt, scene.model
        rows["outcome"] = scene.failed
        rows["finish"] = np.where(ok, self._finish(scene, rng), 0)
        # Usage comes with the last piece of a stream, to clients that asked for it.
        seen = ok & ~scene.cut & ((draft.luck * 7919) % 1 >= self.service.blind)
        cached = (rng.random(count) < tokens.cached) & (scene.input >= 1024)
        held = scene.input * tokens.cached_part * rng.uniform(0.4, 1.0, count) // 128 * 128
        thought = scene.output * tokens.reasoning * rng.uniform(0.5, 1.5, count)
        rows["input"] = np.where(seen, scene.input, -1)
        rows["output"] = np.where(seen, scene.output, -1)
        if tokens.cached:
            rows["cached"] = np.where(seen, np.where(cached, held, 0), -1)
        if tokens.reasoning:
            rows["reasoning"] = np.where(seen, np.minimum(thought, scene.output), -1)
        self._identify(rows, draft, rng)
        return rows

    def _finish(self, scene: Scene, rng: np.random.Generator) -> Ints:
        draft, count = scene.draft, len(scene.draft)
        finish = np.full(count, _STOP)
        finish[scene.output >= self.service.tokens.output_max] = _LENGTH
        if self.service.family == "agent":
            finish[~draft.last] = _TOOLS
        elif self.service.family == "chat":
            finish[rng.random(count) < _TOOL_SHARE] = _TOOLS
        finish[rng.random(count) < _FILTERED] = _FILTER
        finish[scene.cut] = 0
        return finish

    def _identify(self, rows: Rows, draft: Draft, rng: np.random.Generator) -> None:
        """Trace, span, session and user ids. An agent's session is one trace, others one each."""
        count = rows.size
        sessions = int(draft.session.max(initial=-1)) + 1
        rows["trace"] = random_bytes(rng, count, 16)
        rows["span"] = random_bytes(rng, count, 8)
        if self.service.family == "agent":
            rows["trace"] = random_bytes(rng, sessions, 16)[draft.session]
        rows["session"] = random_bytes(rng, sessions, 6)[draft.session]
        user = (rng.random(sessions) ** 2 * 400).astype(np.int64)
        rows["user"] = rows["tenant"].astype(np.int64) * 1000 + user[draft.session]

    def _scores(self, rows: Rows, scene: Scene, rng: np.random.Generator) -> Rows:
        """Thumbs on some of the answers, minutes to hours after them."""
        service, count = self.service, rows.size
        rated = (rng.random(count) < service.feedback) & (rows["outcome"] == 0)
        down = scene.share("negative", service.negative)
        down = np.where(scene.cut, np.maximum(down, 0.6), down)
        unhappy = rng.random(count) < down
        minutes = np.minimum(_THUMB_MINUTES * np.exp(_THUMB_SD * rng.standard_normal(count)), 720)
        scores = np.zeros(count, SCORE)
        scores["ts"] = rows["end"] + (minutes * 60e9).astype(np.int64)
        for name in ("service", "trace", "span"):
            scores[name] = rows[name]
        scores["value"] = ~unhappy
        given: Rows = scores[rated]
        return given


def random_bytes(rng: np.random.Generator, count: int, width: int) -> Rows:
    """`count` random identifiers of `width` bytes."""
    found: Rows = np.frombuffer(rng.bytes(count * width), np.uint8).reshape(count, width)
    return found


def _sequence(draft: Draft, duration_s: Floats) -> Floats:
    """When each call starts: people and agents wait for answers, programs that fan out do not."""
    before = np.concatenate([[0.0], duration_s[:-1]])[: duration_s.size]
    step = draft.pause_s + np.where(draft.together, 0.0, before)
    step[draft.first] = 0.0
    run = np.cumsum(step)
    heads = np.flatnonzero(draft.first)
    base = run[heads][np.cumsum(draft.first) - 1] if heads.size else run
    return np.asarray(draft.begin + run - base)


def _ids(rows: Rows) -> Ints:
    return np.asarray(np.ascontiguousarray(rows["span"]).view("<i8").reshape(-1), np.int64)
