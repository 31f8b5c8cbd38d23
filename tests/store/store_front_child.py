"""A process that serves an embedded store until its standard input ends. Argument: a directory."""

from __future__ import annotations

import sys
from pathlib import Path

from store_front_build import front

if __name__ == "__main__":
    with front(Path(sys.argv[1])) as served:
        print(served.url, flush=True)
        sys.stdin.read()
