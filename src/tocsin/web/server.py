"""One process that does everything: intake, evaluation, delivery and pages around one House."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import httpx
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp

from tocsin.delivery.answer_links import PATH as ANSWERS
from tocsin.delivery.http import client as http_client
from tocsin.delivery.worker import Courier
from tocsin.domain.clock import Clock
from tocsin.domain.errors import SpecError, StoreError, TocsinError
from tocsin.domain.secret import Secret
from tocsin.engine import documents
from tocsin.engine.afterwards import Afterwards
from tocsin.engine.answers import Answers, answer_links
from tocsin.engine.conductor import Conductor
from tocsin.engine.definitions import Definitions
from tocsin.engine.embedder import Embedding
from tocsin.engine.evaluating import EvaluatorRunner
from tocsin.engine.experiments import Experiments
from tocsin.engine.house import House
from tocsin.engine.labelling import Labelling
from tocsin.engine.listening import Listening
from tocsin.engine.notary import Notary
from tocsin.engine.outside import KeepChanges, Outside
from tocsin.engine.reporting.issuing import Issuer
from tocsin.engine.reporting.keeping import Shelf
from tocsin.engine.scheduler import Scheduler
from tocsin.engine.settings import STATE_FILE, Settings, secrets, with_secrets
from tocsin.engine.sources import SourceRunner
from tocsin.engine.status_pages import StatusPages
from tocsin.engine.subscribers import Subscriptions
from tocsin.engine.watch import Watch
from tocsin.intake.credentials import admission
from tocsin.intake.front import routes as intake_routes
from tocsin.intake.intake import Intake
from tocsin.routing.policy import RoutingPolicy
from tocsin.spec.desired import Desired, load, restore
from tocsin.spec.yaml import Located
from tocsin.store.checkpoints import SigningKey
from tocsin.store.layout import Layout
from tocsin.store.otlp_kinds import TABLES
from tocsin.store.row_kinds import segment_kinds
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry
from tocsin.web import (
    as_of,
    dependencies,
    exports,
    freezes,
    gates,
    health,
    ledger_export,
    quality,
    reports,
    segments,
    status_pages,
)
from tocsin.web.alert_doors import ALONE_S, HOOKS, SHARED_S, AlertDoors, keeps_changes
from tocsin.web.app import create_app
from tocsin.web.auth import AuthPolicy, hash_token
from tocsin.web.bound import http_server, listen
from tocsin.web.callbacks import PATH
from tocsin.web.doors import open_doors
from tocsin.web.evaluators import EvaluatorDesk
from tocsin.web.experiments import ExperimentPages
from tocsin.web.health_pages import HealthPages
from tocsin.web.live import LiveDesk
from tocsin.web.metrics import Exposition
from tocsin.web.report_pages import ReportPages
from tocsin.web.status_pages import PUBLIC, StatusRoutes
from tocsin.web.store_server import served_store
from tocsin.web.subscribers import SubscriberPages

log = structlog.get_logger(__name__)

Secrets = Callable[[str], str | None]
# What a server without configuration works by: it takes everything in and judges nothing.
NOTHING = Desired({}, (), RoutingPolicy(), {}, (), "[]", hashlib.sha256(b"[]").hexdigest())


@dataclass(frozen=True, slots=True)
class Stores:
    """The two stores of one data directory, open, and the configuration they were opened by."""

    telemetry: Telemetry
    state: StateStore
    desired: Desired = NOTHING

    def close(self) -> None:
        """Write what is pending and release the directory."""
        self.telemetry.close()
        self.state.close()


@dataclass(frozen=True, slots=True)
class Doorway:
    """Where what others say comes in, and who reads it."""

    outside: Outside
    doors: AlertDoors
    listening: Listening
    keep_changes: KeepChanges | None = None


def open_stores(
    data_dir: Path,
    clock: Clock,
    *,
    memory_bytes: int,
    state_url: str = "",
    clickhouse: str = "",
    password: str = "",
    cluster: str = "",
    configured: Callable[[StateStore], Desired] = lambda _: NOTHING,
) -> Stores:
    """Open (or make) a data directory, readable by its owner only.

    state_url: a PostgreSQL database for the state, instead of a file in the directory. clickhouse:
    a server for the telemetry, with its password and the cluster its tables lie on. configured:
    finds the configuration; asked before telemetry is opened, because segments that a former
    process left are loaded by its redaction.
    """
    if cluster and not clickhouse:
        raise StoreError(
            "TOCSIN_CLICKHOUSE_CLUSTER is set and TOCSIN_CLICKHOUSE is not: give the address of one"
            " of the cluster's nodes, or of a proxy before them"
        )
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(
            f"the data directory {data_dir} cannot be made: {error.strerror}; choose another "
            "--data-dir"
        ) from None
    state = StateStore.open(state_url or data_dir / STATE_FILE)
    try:
        desired = configured(state)
        telemetry = Telemetry.open(
            data_dir, clock, kinds=segment_kinds(desired.redactions), tables=TABLES,
            memory_bytes=memory_bytes, dsn=clickhouse, password=password, layout=Layout(cluster),
            overrides=desired.prices,
        )  # fmt: skip
    except TocsinError:
        state.close()
        raise
    return Stores(telemetry, state, desired)


def configuration(settings: Settings, state: StateStore, resolve: Secrets | None) -> Desired:
    """What this process is to work by: `--config` if given, else what was applied last.

    With `--config`, documents made through the API are in force beside those of files. resolve:
    finds secrets; None leaves receivers without theirs, which is enough to look.

    Raises SpecError with every problem. Nothing given and nothing applied is an empty one.
    """
    if settings.config_dir is not None:
        made = documents.kept(state)
        if _is_empty(settings.config_dir):
            log.warning("configuration_empty", directory=str(settings.config_dir))
            if not made:
                return NOTHING
        return _joined(settings.config_dir, resolve, made)
    versions = state.config_versions(1)
    return restore(versions[0]["body"]["text"], resolve) if versions else NOTHING


def _joined(directory: Path, resolve: Secrets | None, made: Sequence[Located]) -> Desired:
    """Files and what was made through the API. The latter must not keep the former from working."""
    try:
        return load([directory], resolve, made)
    except SpecError as error:
        if not made:
            raise
        desired = load([directory], resolve)
        log.error("api_documents_not_used", problems=[str(problem) for problem in error.problems])
        return desired


def _is_empty(directory: Path) -> bool:
    """Whether a directory exists and holds no YAML yet: a fresh start, not a mistake."""
    found = (p for pattern in ("*.yaml", "*.yml") for p in directory.rglob(pattern))
    return directory.is_dir() and next(found, None) is None


def courier_for(
    house: House,
    http: httpx.AsyncClient,
    settings: Settings,
    rng: Random,
    *,
    offload: bool = False,
) -> Courier:
    """The courier of a house, delivering through its configuration's receivers.

    offload: wait for the state database in a thread, so that a lock on it stops nothing else.
    """
    return Courier(
        house.state,
        house.desired.channels,
        http,
        house.clock,
        rng=rng,
        links_base=settings.base_url,
        answer_links=answer_links(house.state, settings.base_url),
        fallbacks=house.rules.policy.defaults.unmatched.receivers,
        worker=house.conductor.name,
        sets_times=lambda: house.conductor.conducts,
        offload=offload,
    )


def guarded(_: Request) -> None:
    """Every request has passed the web guard: loopback, or the token on any other address."""


def web_app(
    house: House,
    intake: Intake,
    settings: Settings,
    *,
    desk: LiveDesk | None = None,
    sources: SourceRunner | None = None,
    sink_app: ASGIApp | None = None,
    alerts: AlertDoors | None = None,
    answers: Answers | None = None,
    evaluators: EvaluatorRunner | None = None,
) -> ASGIApp:
    """Every page and endpoint of one process."""
    experiments = Experiments(house)
    shown = desk or LiveDesk(house, sources=sources.statuses if sources else tuple)
    mails = Subscriptions(house, settings.base_url)
    status = StatusPages(house, shown.blind, mails.effects)
    shelf = Shelf(house)
    judged = EvaluatorDesk(house, Labelling(house, intake), evaluators)
    return create_app(
        shown,
        definer=Definitions(house) if desk is None else None,
        intake_routes=[*intake_routes(intake), *(alerts.routes() if alerts else [])],
        sink_app=sink_app,
        routers=[
            health.routes(house),
            segments.routes(house),
            freezes.routes(house, shown.blind),
            as_of.routes(house),
            quality.routes(house),
            reports.routes(house, shelf),
            judged.routes(),
            ledger_export.routes(house),
            dependencies.routes(house),
            exports.routes(house.telemetry, house.clock),
            gates.routes(experiments),
            status_pages.routes(status),
        ],
        more_pages=[
            ExperimentPages(experiments).routes,
            HealthPages(house).routes,
            SubscriberPages(mails).routes,
            StatusRoutes(status, mails.offered).routes,
            ReportPages(house, shelf).routes,
            judged.pages,
        ],
        answers=answers,
        metrics=Exposition(house, shown.blind).routes(),
        auth=auth_policy(settings),
        clock=house.clock,
    )


def auth_policy(settings: Settings) -> AuthPolicy:
    """Who may use this server. AuthError when its address would leave it open."""
    token = hash_token(settings.token) if settings.token else None
    return AuthPolicy.for_bind(
        settings.host,
        token_hash=token,
        public_url=settings.public_url,
        open_paths=(PATH, ANSWERS, HOOKS, PUBLIC),
    )  # fmt: skip


async def serve(settings: Settings, clock: Clock, rng: Random) -> None:
    """Run until the process is asked to stop (SIGINT, SIGTERM)."""
    bound = listen(settings)
    resolve = secrets(settings)
    settings = with_secrets(settings, resolve, signs=True)
    stores = await asyncio.to_thread(
        open_stores,
        settings.data_dir,
        clock,
        memory_bytes=settings.memory_bytes,
        state_url=settings.state_url,
        clickhouse=settings.clickhouse,
        password=settings.clickhouse_password,
        cluster=settings.clickhouse_cluster,
        configured=lambda state: configuration(settings, state, resolve),
    )
    desired = stores.desired
    try:
        house = await asyncio.to_thread(open_house, settings, stores, clock)
        keeping = stores.telemetry.keeping
        intake = Intake(
            stores.telemetry.writer,
            clock,
            authenticate=guarded,
            redactions=lambda: house.desired.redactions,
            kept_days=lambda: keeping.raw_days,
        )
        outside = Outside(house)
        listening = Listening(house, outside)
        sources = SourceRunner(
            intake, stores.state, stores.telemetry, clock, listening,
            lambda: house.conductor.conducts,
        )  # fmt: skip
        evaluators = EvaluatorRunner(
            intake, stores.state, stores.telemetry, clock, rng,
            lambda: house.desired.evaluators, lambda: house.conductor.conducts,
        )  # fmt: skip
        alerts = AlertDoors(outside, every_s=SHARED_S if settings.state_url else ALONE_S)
        doorway = Doorway(outside, alerts, listening, keeps_changes(intake))
        auth = auth_policy(settings)
        answers = Answers(house)
        admit = admission(auth.accepts if auth.needs_login else None)
        async with (
            http_client() as http,
            open_doors(settings, intake, admit) as doors,
            served_store(settings, stores.telemetry),
            running(house, http, settings, rng, resolve, sources, doorway, answers, evaluators),
        ):
            app = web_app(
                house, intake, settings, sources=sources, alerts=alerts, answers=answers,
                evaluators=evaluators,
            )  # fmt: skip
            server = http_server(app, settings)
            log.info(
                "serving", url=settings.base_url, services=len(desired.services),
                otlp_grpc=doors.grpc or "off", arrow_flight=doors.flight or "off",
            )  # fmt: skip
            await server.serve(sockets=[bound])
    finally:
        await asyncio.to_thread(stores.close)


def open_house(settings: Settings, stores: Stores, clock: Clock) -> House:
    """The house of a server; what it works by is on record."""
    state, desired = stores.state, stores.desired
    alone = not settings.state_url
    house = House(
        stores.telemetry, state, clock, desired, lateness=settings.lateness,
        conductor=Conductor(state, clock, is_alone=alone, lasts=settings.lease),
        source=lambda inner: Embedding(inner, settings.embedding_model),
    )  # fmt: skip
    if settings.config_dir is not None and desired is not NOTHING:
        house.record_configuration(desired, "serve", f"started with {settings.config_dir}")
        with state.transaction() as tx:
            for document in documents.superseded(state, desired):
                documents.retire(tx, document, actor="serve", now=clock.now())
    return house


@contextlib.asynccontextmanager
async def running(
    house: House,
    http: httpx.AsyncClient,
    settings: Settings,
    rng: Random,
    resolve: Secrets,
    sources: SourceRunner | None = None,
    doorway: Doorway | None = None,
    answers: Answers | None = None,
    evaluators: EvaluatorRunner | None = None,
) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """The heartbeat, the courier, the sources and the inbox of a house, while the block lasts."""
    stop = asyncio.Event()
    courier = courier_for(house, http, settings, rng, offload=True)
    scheduler = Scheduler(
        house,
        interval=settings.interval,
        lateness=settings.lateness,
        wake=courier.wake,
        refresh=lambda: _refresh(house, courier, resolve, sources, answers),
    )
    await asyncio.to_thread(house.conductor.step)
    tasks = [
        asyncio.create_task(house.conductor.run(stop), name="conductor"),
        asyncio.create_task(scheduler.run(stop), name="scheduler"),
        asyncio.create_task(courier.run(stop), name="courier"),
    ]
    if answers is not None:
        answers.use(house.desired.channels, courier.wake)
        tasks.append(asyncio.create_task(answers.run(http, stop), name="answers"))
        tasks.append(asyncio.create_task(Experiments(house).run(stop, courier.wake), name="gates"))
        after = Afterwards(house)
        tasks.append(asyncio.create_task(after.run(stop, courier.wake), name="afterwards"))
        tasks.append(asyncio.create_task(Issuer(house).run(stop, courier.wake), name="reports"))
        key = SigningKey.of(settings.ledger_key) if settings.ledger_key else None
        notary = Notary(house.state, house.clock, key)
        tasks.append(asyncio.create_task(notary.run(stop), name="notary"))
        ping_url = Secret(settings.deadman_url) if settings.deadman_url else None
        judging = evaluators.statuses if evaluators is not None else tuple
        watch = Watch(house, ping_url, lambda: notary.broken, judging)
        tasks.append(asyncio.create_task(watch.run(http, stop, courier.wake), name="watch"))
    if evaluators is not None:
        tasks.append(asyncio.create_task(evaluators.run(stop), name="evaluators"))
    if sources is not None:
        sources.use(house.desired.sources)
        tasks.append(asyncio.create_task(sources.run(stop), name="sources"))
    if doorway is not None:
        doorway.outside.then(courier.wake, doorway.keep_changes)
        doorway.listening.then(courier.wake)
        tasks.append(asyncio.create_task(doorway.doors.run(stop), name="inbox"))
    try:
        yield tasks
    finally:
        stop.set()
        courier.wake()
        if doorway is not None:
            doorway.doors.stop_waiting()
        await asyncio.wait(tasks, timeout=timedelta(seconds=15).total_seconds())
        await asyncio.to_thread(house.conductor.give_back)


def _refresh(
    house: House,
    courier: Courier,
    resolve: Secrets,
    sources: SourceRunner | None,
    answers: Answers | None,
) -> None:
    """Adopt a configuration that `tocsin apply` stored since the last tick."""
    versions = house.state.config_versions(1)
    if not versions or versions[0]["digest"] == house.desired.digest:
        return
    desired = restore(versions[0]["body"]["text"], resolve)
    house.adopt(desired)
    if answers is not None:
        answers.use(desired.channels, courier.wake)
    courier.use(desired.channels, desired.routing.defaults.unmatched.receivers)
    if sources is not None:
        sources.use(desired.sources)
    log.info("configuration_adopted", digest=desired.digest[:16])
