"""Elements of SVG and HTML as text: what is put in is escaped, what was made here is not."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

Attribute = str | float | None


def number(value: float) -> str:
    """At most two decimals, no trailing zeros, no negative zero. ValueError unless finite."""
    if not math.isfinite(value):
        raise ValueError(f"cannot draw {value}")
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def element(tag: str, *children: str, **attributes: Attribute) -> Markup:
    """One element. Attribute `view_box` becomes viewBox, `stroke_width` stroke-width, and so on.

    None leaves an attribute out; text and attribute values are escaped, `Markup` children are not.
    """
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None:
            continue
        text = value if isinstance(value, str) else number(value)
        named = _NAMES.get(name) or name.rstrip("_").replace("_", "-")
        parts.append(f' {named}="{escape(text)}"')
    if not children:
        return Markup("".join(parts) + "/>")  # noqa: S704 (parts are escaped)
    inner = "".join(escape(child) for child in children)
    return Markup("".join(parts) + f">{inner}</{tag}>")  # noqa: S704 (parts are escaped)


_NAMES = {
    "view_box": "viewBox",
    "preserve_aspect_ratio": "preserveAspectRatio",
    "path_length": "pathLength",
}


def picture(label: str, *children: str, **attributes: Attribute) -> Markup:
    """The root of a drawing: an image with a name for those who cannot see it."""
    return element("svg", *children, role="img", aria_label=label, **attributes)
