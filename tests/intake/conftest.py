"""Lets the tests of intake use what the tests of the store have built."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "store"))
