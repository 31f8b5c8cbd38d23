"""HTML to PDF, in a process of its own: what a report holds was written by others.

WeasyPrint lays out the same file that people read in a browser. It gets no address to fetch from,
a minute of time, and its memory is given back. Run as a module it reads HTML and writes PDF.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from tocsin.domain.errors import Unanswerable

TIMEOUT_S = 60
INSTALL = "pip install 'tocsin[pdf]'"
SYSTEM = "Pango (Debian: apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0)"


class NoPdf(Unanswerable):
    """A PDF that cannot be made; the text says what to install or what went wrong."""

    status = 501


def is_there() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("weasyprint") is not None


def as_pdf(html: bytes) -> bytes:
    """The pages of `html`. The same bytes in give the same bytes out. Raises NoPdf."""
    if not is_there():
        raise NoPdf(f"PDF needs WeasyPrint: {INSTALL}, and {SYSTEM}; HTML prints as well")
    command = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(  # noqa: S603 (this interpreter, this module)
            command, input=html, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoPdf(
            f"the PDF took longer than {TIMEOUT_S} s; take HTML, or fewer services"
        ) from None
    if done.returncode == 0 and done.stdout.startswith(b"%PDF-"):
        return done.stdout
    told = done.stderr.decode(errors="replace").strip().splitlines()
    if any("cannot load library" in line for line in told):
        raise NoPdf(f"PDF needs a library of the system: {SYSTEM}")
    raise NoPdf(f"the PDF was not made: {told[-1] if told else 'no reason given'}")


def _main() -> None:
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    nothing = URLFetcher(allowed_protocols=())
    html = sys.stdin.buffer.read().decode()
    sys.stdout.buffer.write(HTML(string=html, url_fetcher=nothing).write_pdf())


if __name__ == "__main__":
    _main()
