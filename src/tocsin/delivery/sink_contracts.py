"""What PagerDuty, Slack and Standard Webhooks accept, as their documentation says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from standardwebhooks import Webhook as Signer

PAGERDUTY_LARGEST = 512 * 1024
WEBHOOK_LARGEST = 20_000
MOST_RESPONSES = 5  # to one press in Slack
WEBHOOK_TOLERANCE = timedelta(minutes=5)
_TEXT_LIMITS = {"header": 150, "section": 3000, "context": 3000}


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a body, or None."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def pagerduty(body: bytes) -> tuple[dict[str, Any] | None, list[str]]:
    """The event and everything that is wrong with it (Events API v2)."""
    event = json_object(body)
    if event is None:
        return None, ["the body is not a JSON object"]
    return event, [*_event_problems(event), *_payload_problems(event), *_context_problems(event)]


def pagerduty_change(body: bytes) -> tuple[dict[str, Any] | None, list[str]]:
    """The change event and everything that is wrong with it."""
    event = json_object(body)
    if event is None:
        return None, ["the body is not a JSON object"]
    return event, [*_change_problems(event), *_context_problems(event)]


def slack_call(headers: Mapping[str, str], message: Mapping[str, Any] | None) -> str:
    """Slack's error for a chat.* call; "" if there is none."""
    error = slack_token(headers)
    if error:
        return error
    if not headers.get("content-type", "").startswith("application/json"):
        return "invalid_post_type"
    if message is None:
        return "invalid_json"
    if not isinstance(message.get("channel"), str) or not message["channel"]:
        return "channel_not_found"
    return slack_message(message)


def slack_token(headers: Mapping[str, str]) -> str:
    """Slack's error for the credentials of a call; "" if there is none."""
    token = headers.get("authorization", "").removeprefix("Bearer ")
    if not token:
        return "not_authed"
    return "" if token.startswith("xoxb-") else "invalid_auth"


def slack_message(message: Mapping[str, Any]) -> str:
    """Slack's error for a message; "" if there is none."""
    text, blocks = message.get("text", ""), message.get("blocks", [])
    if not text and not blocks:
        return "no_text"
    if len(text) > 40_000:
        return "msg_too_long"
    if not isinstance(blocks, list) or len(blocks) > 50:
        return "invalid_blocks"
    if len(json.dumps(blocks, ensure_ascii=False)) > 13_200:
        return "msg_blocks_too_long"
    if any(not _is_block(block) for block in blocks):
        return "invalid_blocks"
    metadata = message.get("metadata")
    if metadata is not None and not (
        isinstance(metadata.get("event_type"), str)
        and isinstance(metadata.get("event_payload"), dict)
    ):
        return "invalid_metadata_format"
    return ""


def slack_response(said: Mapping[str, Any]) -> str:
    """Slack's error for what is posted to a response_url; "" if there is none."""
    if said.get("response_type", "ephemeral") not in {"ephemeral", "in_channel"}:
        return "invalid_response_type"
    if not isinstance(said.get("replace_original", False), bool):
        return "invalid_replace_original"
    return slack_message(said)


def webhook(headers: Mapping[str, str], body: bytes, now: datetime, secret: str | None) -> str:
    """What is wrong with a Standard Webhook; "" if nothing. secret: to check the signature."""
    problem = _envelope_problem(headers, body, now)
    if problem or secret is None:
        return problem
    name, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    at = datetime.fromtimestamp(int(stamp), UTC)
    expected = Signer(secret).sign(name, at, body.decode())
    given = headers["webhook-signature"].split(" ")
    return "" if expected in given else "no matching signature found"


# --- private -----------------------------------------------------------------------------------


def _event_problems(event: Mapping[str, Any]) -> Iterator[str]:
    key, action = event.get("routing_key"), event.get("event_action")
    if not isinstance(key, str) or len(key) != 32:
        yield "'routing_key' is missing or is not 32 characters"
    if action not in {"trigger", "acknowledge", "resolve"}:
        yield "'event_action' is missing or is not trigger, acknowledge or resolve"
    dedup_key = event.get("dedup_key")
    if dedup_key is not None and not (isinstance(dedup_key, str) and len(dedup_key) <= 255):
        yield "'dedup_key' is longer than 255 characters"
    if action in {"acknowledge", "resolve"} and not dedup_key:
        yield "'dedup_key' is required to acknowledge or resolve"


def _change_problems(event: Mapping[str, Any]) -> Iterator[str]:
    key, payload = event.get("routing_key"), event.get("payload")
    if not isinstance(key, str) or len(key) != 32:
        yield "'routing_key' is missing or is not 32 characters"
    if set(event) - {"routing_key", "payload", "links"}:
        yield "a change event holds routing_key, payload and links"
    if not isinstance(payload, dict):
        yield "'payload' is missing"
        return
    yield from _summary_problems(payload)
    if not isinstance(payload.get("custom_details", {}), dict):
        yield "'payload.custom_details' is not an object"
    if set(payload) - {"summary", "source", "timestamp", "custom_details"}:
        yield "'payload' holds summary, source, timestamp and custom_details"


def _payload_problems(event: Mapping[str, Any]) -> Iterator[str]:
    if event.get("event_action") != "trigger":
        return
    payload = event.get("payload")
    if not isinstance(payload, dict):
        yield "'payload' is missing"
        return
    yield from _summary_problems(payload)
    if not payload.get("source") or not isinstance(payload["source"], str):
        yield "'payload.source' is missing or blank"
    if payload.get("severity") not in {"critical", "error", "warning", "info"}:
        yield "'payload.severity' is not critical, error, warning or info"


def _summary_problems(payload: Mapping[str, Any]) -> Iterator[str]:
    summary = payload.get("summary")
    if not isinstance(summary, str) or not 0 < len(summary) <= 1024:
        yield "'payload.summary' is missing, blank or longer than 1024 characters"


def _context_problems(event: Mapping[str, Any]) -> Iterator[str]:
    for link in event.get("links", []):
        if not isinstance(link.get("href"), str):
            yield "a link has no 'href'"
    for image in event.get("images", []):
        if not str(image.get("src", "")).startswith("https://"):
            yield "an image's 'src' is not served via HTTPS"


def _is_block(block: Any) -> bool:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        return False
    longest = _TEXT_LIMITS.get(block["type"], 3000)
    texts = [block["text"]] if "text" in block else []
    fields, elements = block.get("fields", []), block.get("elements", [])
    if len(fields) > 10 or len(elements) > 25 or any(not f.get("text") for f in texts + fields):
        return False
    if block["type"] == "section" and not texts and not fields:
        return False
    return (
        all(len(text["text"]) <= longest for text in texts)
        and all(len(each["text"]) <= 2000 for each in fields)
        and all(_is_element(each) for each in elements)
    )


def _is_element(element: Mapping[str, Any]) -> bool:
    if element.get("type") != "button":
        return True
    return len(element["text"]["text"]) <= 75 and len(element.get("url", "")) <= 3000


def _envelope_problem(headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    missing = [
        name
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        if not headers.get(name)
    ]
    if missing:
        return f"missing required headers: {', '.join(missing)}"
    stamp = headers["webhook-timestamp"]
    if not stamp.isdecimal():
        return "webhook-timestamp is not whole seconds"
    if abs(datetime.fromtimestamp(int(stamp), UTC) - now) > WEBHOOK_TOLERANCE:
        return "webhook-timestamp is more than five minutes off"
    if len(body) > WEBHOOK_LARGEST:
        return "the body is larger than 20 KB"
    event = json_object(body)
    if event is None or not {"type", "timestamp", "data"} <= set(event):
        return "the body is not an object with type, timestamp and data"
    return ""
