"""`tocsin ledger`: the audit trail as a file, its verification, and the keys that sign it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.cli.terminal import DataDir, Output, Url, err, out, told

if TYPE_CHECKING:
    from tocsin.store.checkpoints import Audit

ledger = typer.Typer(
    help="The audit trail: export it, check that nothing was changed, make keys to sign it with.",
    no_args_is_help=True,
)


@ledger.command()
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="an export; without it the data directory or --url")
    ] = None,
    key: Annotated[
        str, typer.Option(help="public key, or a file of it: checkpoints must be signed with it")
    ] = "",
    checkpoint: Annotated[
        Path | None, typer.Option(help="checkpoints that were kept elsewhere, one a line")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Say whether every entry is as it was written, none is missing and none changed its place.

    Works on an export with nothing but this program. Exit code: 0 intact, 2 not, 1 unreadable.
    """
    from tocsin.engine import auditing
    from tocsin.engine.settings import from_environment
    from tocsin.store.checkpoints import VerifyingKey
    from tocsin.store.ledger_files import read_checkpoints

    with told():
        settings = from_environment(data_dir=data_dir, url=url)
        text = Path(key).read_text() if key and Path(key).is_file() else key
        public = VerifyingKey.of(text) if text else None
        kept = read_checkpoints(checkpoint) if checkpoint else ()
        found = auditing.check(settings, file, public, kept)
        if output is Output.TEXT:
            _show(found)
        else:
            print(json.dumps(_record(found)))  # noqa: T201
        raise typer.Exit(2 if found.broken else 0)


@ledger.command()
def export(
    file: Annotated[
        Path | None, typer.Option("--file", help="where to write; standard output without it")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Write every entry and every signed checkpoint as JSON lines, for `verify` and auditors."""
    from tocsin.domain.errors import StoreError
    from tocsin.engine import auditing
    from tocsin.engine.settings import from_environment

    with told(), auditing.exported(from_environment(data_dir=data_dir, url=url)) as pieces:
        if file is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        part = file.with_name(f"{file.name}.part")
        try:
            with part.open("wb") as target:
                target.writelines(pieces)
            part.replace(file)
        except OSError as error:
            raise StoreError(f"cannot write {file}: {error.strerror or error}") from None
        finally:
            part.unlink(missing_ok=True)
        err.print(f"{file.stat().st_size:,} bytes", highlight=False)


@ledger.command()
def key() -> None:
    """Make a pair of keys: the private one for TOCSIN_LEDGER_KEY, the public one for auditors."""
    from tocsin.store.checkpoints import SigningKey

    made = SigningKey.new()
    out.print(made.text, made.public.text, sep="\n", markup=False, highlight=False, soft_wrap=True)


def _record(found: Audit) -> dict[str, object]:
    broken = found.broken
    return {
        "intact": broken is None,
        "entries": found.entries,
        "head": {"seq": found.head.seq, "hash": found.head.hash},
        "signed_to": found.signed,
        "signatures_checked": found.is_proved,
        "broken_at": broken.seq if broken else None,
        "problem": broken.problem if broken else "",
    }


def _show(found: Audit) -> None:
    say = "[green]intact[/]" if found.broken is None else "[red]BROKEN[/]"
    out.print(f"{say}  {found.entries:,} entries, head {found.head.hash[:16]}", highlight=False)
    if found.broken is not None:
        out.print(str(found.broken), markup=False, highlight=False, soft_wrap=True)
    unsigned = found.head.seq - found.signed
    if not found.signed:
        out.print("not signed: somebody who can write to the database could have made all of it")
    elif not found.is_proved:
        out.print(f"checkpoints up to entry {found.signed:,}; give --key to check who signed them")
    elif found.broken is None:
        since = f", {unsigned:,} since then not yet" if unsigned else ""
        out.print(f"signed up to entry {found.signed:,}{since}", highlight=False)
