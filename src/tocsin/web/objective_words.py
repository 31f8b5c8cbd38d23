"""An objective in words, for the terminal and its page: plain data in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.domain.figures import percent

View = Mapping[str, Any]


def sentences(view: View) -> Iterator[str]:
    """What it asks, where it stands, which rules hold and which never can."""
    mean, budget = view["mean"], 1.0 - view["target"]
    if mean:
        yield (
            f"{view['title']}: the mean of {view['counts_in']} over {view['window']} is held to"
            f" {amount_text(mean, 'limit')}; the budget is what lies between the expected"
            f" {amount_text(mean, 'expected')} and that."
        )
    else:
        yield (
            f"{view['title']}: at least {share(view['target'])} of {view['counts_in']} must be"
            f" good over {view['window']}; {share(budget)} may be bad."
        )
    if view["budget_left"] is None:
        yield f"Nothing is known: {view['reason']}."
    else:
        proven = {
            "met": "surely within the budget",
            "breached": "surely beyond the budget",
            "inconclusive": "which proves neither that it is met nor that it is not",
        }.get(view["standing"], view["standing"])
        found = (
            f"The mean of {view['total']:,} is {found_text(view)}"
            if mean
            else f"{view['bad']:,} of {view['total']:,} were bad: {share(view['sli'])} good"
        )
        yield f"{found}, {proven}; {share(view['budget_left'])} of the budget is left."
    if view["corrections"]:
        yield _correction_sentence(view)
    for severity, reason in view["rules"].items():
        yield f"The {severity} rule holds: {reason}."
    for burn in view["burns"]:
        yield _step_sentence(burn, _asked(burn, mean, budget), set(view["rules"]))
    yield from (f"Never or hardly: {sentence}." for sentence in view["unreachable"])


def _correction_sentence(view: View) -> str:
    from tocsin.assess.wording import span

    # A mean without its corrections is not held, only what was left of its budget.
    good = "" if view["mean"] else f"{share(view['sli_uncorrected'])} good and "
    return (
        f"{span(view['corrected_minutes'])} of it are corrected by"
        f" {', '.join(view['corrections'])}; without that"
        f" {good}{share(view['budget_left_uncorrected'])} of the budget left."
    )


def _asked(burn: View, mean: View | None, budget: float) -> str:
    """What a step needs to see, in the objective's own terms."""
    if mean is None:
        return f"{share(burn['threshold'] * budget)} bad"
    width = mean["limit"] - mean["expected"]
    return f"a mean of {_in_unit(mean['expected'] + burn['threshold'] * width, mean)}"


def _step_sentence(burn: View, asked: str, holding: set[str]) -> str:
    name = f"{burn['long']} / {burn['short']} {burn['severity']}"
    asks = f"above {times(burn['threshold'])} ({asked}) over both"
    now = f"now {times(burn['long_burn'])} and {times(burn['short_burn'])}"
    if burn["is_firing"]:
        says = (
            "fires" if burn["severity"] in holding else "is over both, and its guards hold it back"
        )
    elif burn["long_burn"] is None or burn["short_burn"] is None:
        says = "cannot say: a window has no calls"
    elif burn["long_burn"] > burn["threshold"]:
        says = "is over: the short window has recovered"
    else:
        says = "does not fire"
    return f"{name}: {asks}; {now}: it {says}."


def target(view: View) -> str:
    """What it is held to: a share, or a mean in its unit."""
    mean = view["mean"]
    return f"mean {amount_text(mean, 'limit')}" if mean else share(view["target"])


def found_text(view: View) -> str:
    """What was found: the share of good ones, or the mean."""
    return amount_text(view["mean"], "value") if view["mean"] else share(view["sli"])


def amount_text(mean: View, name: str) -> str:
    """One of the numbers of a mean in its unit; "?" is unknown."""
    return "?" if mean[name] is None else _in_unit(mean[name], mean)


def _in_unit(value: float, mean: View) -> str:
    from tocsin.assess.wording import amount

    return amount(value, mean["unit"])


def share(value: float | None) -> str:
    """A share as a percentage with four digits; "?" is unknown."""
    return "?" if value is None else percent(value, 4)


def times(value: float | None) -> str:
    """A burn rate; "?" is unknown."""
    return "?" if value is None else f"{value:.3g}x"
