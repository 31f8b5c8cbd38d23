"""Fuzz the readers for longer than the suite does.

    python tests/intake/fuzz --seconds 60 --reader otlp-traces --seed 7

Without --reader all of them share the time. Each failure is told once per kind, with the seed that
repeats it, and its body is written to --out. With `atheris` installed (it is not needed),
--coverage lets it choose the seeds by what code they reach.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "store")]

from fuzz_readers import Reader, readers  # noqa: E402


def attempt(reader: Reader, body: bytes) -> str:
    """What went wrong with a body, as its kind and place; "" when nothing did."""
    try:
        reader.read(body)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(f.filename).name}:{f.lineno}" for f in frames[-3:]]
        return f"{type(error).__name__} {str(error)[:160]!r} at {' > '.join(places)}"
    return ""


def run(reader: Reader, seconds: float, seed: int, out: Path) -> int:
    """Fuzz one reader; the number of kinds of failure."""
    end = time.monotonic() + seconds
    found: set[str] = set()
    bodies = 0
    while time.monotonic() < end:
        body = reader.body(Random(seed + bodies))
        wrong = attempt(reader, body)
        kind = wrong.split("'")[0] + wrong.rpartition(" at ")[2]
        if wrong and kind not in found:
            found.add(kind)
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{reader.name}-{seed + bodies}.bin"
            path.write_bytes(body)
            print(f"{reader.name} seed {seed + bodies}: {wrong} ({path})", flush=True)
        bodies += 1
    print(f"{reader.name}: {bodies} bodies, {len(found)} kinds of failure", flush=True)
    return len(found)


def by_coverage(reader: Reader, seconds: float) -> None:
    """Let atheris choose seeds; it ends the process by itself, and at the first failure."""
    import atheris

    def one(data: bytes) -> None:
        wrong = attempt(reader, reader.body(Random(data)))
        if wrong:
            raise RuntimeError(f"{wrong}, seed {data!r}")

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}"], one)
    atheris.Fuzz()


def main() -> int:
    known = readers(shared=True)
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reader", choices=sorted(known), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--coverage", action="store_true", help="needs atheris, and one --reader")
    asked = parser.parse_args()
    chosen = [known[name] for name in asked.reader or known]
    if asked.coverage:
        by_coverage(chosen[0], asked.seconds)
    each = asked.seconds / len(chosen)
    return int(sum(run(reader, each, asked.seed, asked.out) for reader in chosen) > 0)


if __name__ == "__main__":
    sys.exit(main())
