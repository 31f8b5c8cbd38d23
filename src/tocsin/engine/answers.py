"""Carries out what people did at receivers: an acknowledgement there is one here.

An answer counts once. The id of each that was seen is kept, whether it changed anything or not, so
that neither a replayed request nor a ticket that is merely *still* in progress can silence an
incident that went on to escalate. An acknowledgement counts while somebody is called for, the end
while the incident is live; anything else only goes to the log. A ticket that we closed ourselves
is never read as the end of an incident that came back, neither when it is asked for nor when its
service tells us hours later.

Services are asked beside each other: one that is slow, or fails, is late with its own answers only.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from threading import Lock
from typing import Any

import httpx
import structlog

from tocsin.alerts.responder import Refused
from tocsin.delivery.answer_links import AnswerLinks, Link
from tocsin.delivery.answers import VERDICTS as ANSWER_WORDS
from tocsin.delivery.answers import Answer, Answering, Listening, Polling
from tocsin.delivery.channel import Channel
from tocsin.delivery.replies import reply_effect
from tocsin.domain.clock import iso
from tocsin.domain.findings import EffectState, Incident, IncidentState, LedgerEvent
from tocsin.domain.secret import Secret
from tocsin.engine.house import House
from tocsin.store.responses import VERDICTS
from tocsin.store.state import StateStore

log = structlog.get_logger(__name__)

SEEN = "answers.seen"
LINK_KEY = "answers.link_key"
MOST_SEEN = 5_000
INTERVAL = timedelta(seconds=30)
PATIENCE_S = 10.0  # with one question to a service
_CALLED_FOR = (IncidentState.OPEN, IncidentState.TRIGGERED)


def answer_links(state: StateStore, base: str) -> AnswerLinks:
    """Makes and reads links that answer. The key is made once and shared by all processes."""
    known = state.get_meta(LINK_KEY)
    if known is None:
        with state.transaction() as tx:
            known = tx.get_meta(LINK_KEY) or secrets.token_hex(32)
            tx.set_meta(LINK_KEY, known)
    return AnswerLinks(Secret(known), base)


class Answers:
    """Takes answers for one house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._wake: Callable[[], None] = lambda: None
        self._channels: Mapping[str, Channel] = {}
        self._answering: Mapping[str, Answering] = {}
        # Who answers second must find what the first one did.
        self._one_at_a_time = Lock()

    def use(self, channels: Mapping[str, Channel], wake: Callable[[], None] = lambda: None) -> None:
        """Listen to these from now on.

        wake: called when an answer changed something, so that everybody hears of it at once.
        """
        self._channels, self._wake = dict(channels), wake
        every: Mapping[str, object] = channels
        self._answering = {
            name: channel
            for name, channel in every.items()
            if isinstance(channel, Answering) and channel.answers
        }

    def listens_to(self, receiver: str) -> bool:
        """Whether requests of this receiver are taken."""
        return receiver in self._answering

    def take(self, receiver: str, headers: Mapping[str, str], body: bytes) -> int:
        """Carry out what a request of a receiver's service says; how many answers counted.

        Blocks. Raises NotAuthentic, and KeyError for one that is not listened to. An authentic
        request that cannot be understood is kept in the ledger and counts nothing: the service must
        not stop sending because of it.
        """
        channel = self._answering[receiver]
        now = self._house.clock.now()
        return self._heard(receiver, channel, body, lambda: channel.read(headers, body, now))

    def hear(self, receiver: str, channel: Listening, body: bytes) -> int:
        """Carry out what came over the connection of a receiver; how many answers counted. Blocks.

        Raises StoreError when it cannot be written now.
        """
        return self._heard(receiver, channel, body, lambda: channel.understand(body))

    def _heard(
        self,
        receiver: str,
        channel: Answering | Listening,
        body: bytes,
        read: Callable[[], Sequence[Answer]],
    ) -> int:
        try:
            answers = read()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            reason = f"a request of {receiver} could not be read ({type(error).__name__})"
            text = body[:4_000].decode(errors="replace")
            now = self._house.clock.now()
            with self._house.state.transaction() as tx:
                event = LedgerEvent(
                    now, "answer.unreadable", receiver, receiver, reason, {"body": text}
                )
                tx.append(event)
            log.warning("answer_unreadable", receiver=receiver, error=type(error).__name__)
            return 0
        return sum(self._apply(receiver, each, self._named(channel, each)) for each in answers)

    def linked(self, token: str) -> Link:
        """What a link in a message says. NotAuthentic when it is not ours or no longer holds."""
        return answer_links(self._house.state, "").read(token, self._house.clock.now())

    def incident(self, link: Link) -> Incident | None:
        """The incident that a link is about."""
        return self._house.state.incident(link.incident_id)

    def follow(self, link: Link, name: str) -> bool:
        """Carry out what a link says, by somebody who calls themselves `name`; whether it counted.

        Each time anew: it was a person who pressed the button.
        """
        now = self._house.clock.now()
        who = f"{link.receiver}:{name or 'link'}"
        event = f"link:{link.incident_id}:{link.said}:{iso(now)}"
        answer = Answer(link.said, who, link.incident_id, event, "press")
        return self._apply(link.receiver, answer, self.incident(link))

    async def poll(self, http: httpx.AsyncClient) -> int:
        """Ask the services that do not tell, and wait for all of them; how many answers counted."""
        asking: dict[str, asyncio.Task[int]] = {}
        await self._start_asking(asking, http)
        return sum(await asyncio.gather(*asking.values()))

    async def run(self, http: httpx.AsyncClient, stop: asyncio.Event) -> None:
        """Ask, and keep the connections on which services tell, until `stop` is set."""
        lines: dict[Secret, asyncio.Task[None]] = {}
        asking: dict[str, asyncio.Task[int]] = {}
        try:
            while not stop.is_set():
                try:
                    self._keep(lines, http)
                    if self._house.conductor.conducts:
                        await self._start_asking(asking, http)
                except Exception:  # worker loop: tried again in half a minute
                    log.exception("answers_not_asked")
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), INTERVAL.total_seconds())
        finally:
            tasks = [*lines.values(), *asking.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- private ---

    def _keep(self, lines: dict[Secret, asyncio.Task[None]], http: httpx.AsyncClient) -> None:
        """Open the connections that are missing and leave those that nobody wants any more.

        Every process has its own: a service tells one of them, and all carry out what people do.
        """
        every: Mapping[str, object] = self._channels
        wanted = {
            channel.line: (name, channel)
            for name, channel in every.items()
            if isinstance(channel, Listening) and channel.line is not None
        }
        for line in [each for each, task in lines.items() if each not in wanted or task.done()]:
            lines.pop(line).cancel()
        for line in wanted.keys() - lines.keys():
            lines[line] = asyncio.create_task(self._listen(*wanted[line], http), name="listening")

    async def _listen(self, receiver: str, channel: Listening, http: httpx.AsyncClient) -> None:
        async def hear(body: bytes) -> None:
            await asyncio.to_thread(self.hear, receiver, channel, body)

        try:
            await channel.listen(hear, http)
        except Exception:  # opened again in half a minute
            log.exception("listening_failed", receiver=receiver)

    def _named(self, channel: Answering | Listening, answer: Answer) -> Incident | None:
        """The newest episode that the service calls by this name."""
        incidents = self._house.state.incidents(live_only=False).values()
        return next((i for i in incidents if channel.name_of(i.id) == answer.subject), None)

    async def _start_asking(
        self, asking: dict[str, asyncio.Task[int]], http: httpx.AsyncClient
    ) -> None:
        """Begin a round with each service that is not still busy with its last one."""
        idle = {
            name: channel
            for name, channel in self._channels.items()
            if isinstance(channel, Polling) and channel.polls
            if name not in asking or asking[name].done()
        }
        if not idle:
            return
        questions = await asyncio.to_thread(self._questions, idle)
        for name, about in questions.items():
            round_ = self._ask(name, idle[name], 1 / idle[name].rate_per_s, about, http)
            asking[name] = asyncio.create_task(round_, name=f"asking {name}")

    async def _ask(
        self,
        receiver: str,
        channel: Polling,
        pause_s: float,
        questions: Sequence[tuple[Incident, Mapping[str, Any]]],
        http: httpx.AsyncClient,
    ) -> int:
        """One question after the other, no faster than the service takes them; how many counted."""
        counted = 0
        for place, (incident, reference) in enumerate(questions):
            if place:
                await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    answer = await channel.poll(reference, self._house.clock.now(), http)
                if answer is not None:
                    counted += await asyncio.to_thread(self._apply, receiver, answer, incident)
            except Exception as error:  # noqa: BLE001 (asked again in half a minute)
                kind = type(error).__name__
                log.warning("answer_not_found", receiver=receiver, incident=incident.id, kind=kind)
        return counted

    def _questions(
        self, receivers: Collection[str]
    ) -> dict[str, list[tuple[Incident, Mapping[str, Any]]]]:
        """What each receiver is asked about: live incidents, and what it calls them."""
        questions: dict[str, list[tuple[Incident, Mapping[str, Any]]]] = {}
        for incident in self._house.state.incidents().values():
            if not incident.state.is_live:
                continue
            references = {
                effect.receiver: effect.remote_ref
                for effect in self._house.state.effects(incident.id)
                if effect.receiver in receivers
                and effect.state is EffectState.DONE
                and effect.remote_ref
            }
            for receiver, reference in references.items():
                questions.setdefault(receiver, []).append((incident, reference))
        return questions

    def _apply(self, receiver: str, answer: Answer, incident: Incident | None) -> bool:
        if incident is None:
            log.info("answer_without_incident", receiver=receiver, action=answer.action)
            self._reply(receiver, answer, "There is no such incident any more.")
            return False
        standing = f"{receiver}:{incident.id}:{answer.action}"  # what asking finds, again and again
        event = f"{receiver}:{answer.id}" if answer.id else standing
        with self._one_at_a_time:
            if self._was_seen(event):
                return False
            counted, said = self._carry_out(receiver, answer, incident)
            # Only now: what failed on the way is told, or asked for, again and must count then.
            channel: object = self._channels.get(receiver)
            asked = isinstance(channel, Polling) and channel.polls
            self._remember(event, *([standing] if asked and answer.told != "press" else []))
        self._reply(receiver, answer, said)
        return counted

    def _reply(self, receiver: str, answer: Answer, said: str) -> None:
        """Tell who pressed a button what its message does not show."""
        if not said or not answer.reply:
            return
        with self._house.state.transaction() as tx:
            tx.add_effect(reply_effect(receiver, answer, said, self._house.clock.now()))
        self._wake()

    def _carry_out(self, receiver: str, answer: Answer, incident: Incident) -> tuple[bool, str]:
        """Whether it counted, and what is to be said of it where the message does not show it."""
        incident = self._house.state.incident(incident.id) or incident
        if answer.action in VERDICTS:  # may be said at any time, and changed
            now = self._house.clock.now()
            self._house.state.mark(incident.id, answer.action, answer.actor, now)
            words = ANSWER_WORDS[answer.action]
            return True, f"Noted of {incident.title}: “{words}”. The last word counts."
        wanted = (
            incident.state in _CALLED_FOR
            if answer.action == "acknowledge"
            else incident.state.is_live
        )
        if not wanted:
            log.info("answer_too_late", receiver=receiver, incident=incident.id)
            by = f" by {incident.acknowledged_by}" if incident.acknowledged_by else ""
            stands = f"{incident.state.value}{by if incident.state.is_live else ''}"
            return False, f"That changed nothing: {incident.title} is {stands}."
        if answer.action == "resolve" and self._was_closed_by_us(receiver, answer, incident):
            log.info("answer_is_our_own", receiver=receiver, incident=incident.id)
            return False, ""
        if answer.action == "acknowledge":
            result = self._house.acknowledge(incident.id, answer.actor)
        else:
            result = self._house.resolve(incident.id, answer.actor, f"resolved at {receiver}")
        if isinstance(result, Refused):
            return False, f"That changed nothing: {result.reason}."
        self._wake()
        return True, ""

    def _was_closed_by_us(self, receiver: str, answer: Answer, incident: Incident) -> bool:
        """Whether the end may be our own: the last thing that the receiver took, or of a record,
        which services tell of late, anything that it took or is just taking."""
        if answer.told == "press":
            return False
        mine = [e for e in self._house.state.effects(incident.id) if e.receiver == receiver]
        done = [each.action for each in mine if each.state is EffectState.DONE]
        if answer.told == "event":
            return done[-1:] == ["resolve"]
        under_way = [each.action for each in mine if each.state is EffectState.LEASED]
        return "resolve" in done + under_way

    def _was_seen(self, event: str) -> bool:
        return event in (self._house.state.get_meta(SEEN) or ())

    def _remember(self, *events: str) -> None:
        with self._house.state.transaction() as tx:
            seen = [one for one in tx.get_meta(SEEN) or () if one not in events]
            tx.set_meta(SEEN, [*seen, *events][-MOST_SEEN:])
