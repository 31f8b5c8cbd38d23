"""What others make of it, in a Python of their own: `presidio-analyzer` reads, `faker` invents.

Run by `benchmarks.redaction` as a script under the Python that BENCH_PEERS names; a task as
JSON on stdin, the answer as JSON on stdout. Only these two libraries are needed there.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

# kind -> (locale, provider of Faker) of values of that kind
INVENTED: dict[str, tuple[tuple[str, str], ...]] = {
    "email": tuple((locale, "email") for locale in ("en_US", "de_DE", "ja_JP", "pl_PL")),
    "phone": tuple(
        (locale, "phone_number")
        for locale in (
            "en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_BR",
            "en_IN", "ja_JP", "zh_CN", "sv_SE", "de_CH", "en_AU", "en_CA",
        )
    ),
    "card": (("en_US", "credit_card_number"),),
    "iban": tuple((locale, "iban") for locale in ("en_GB", "de_DE", "fr_FR", "nl_NL", "it_IT")),
    "ipv4": (("en_US", "ipv4_public"),),
    "ipv6": (("en_US", "ipv6"),),
    "us_ssn": (("en_US", "ssn"),),
    "uk_nino": (("en_GB", "ssn"),),
    "fr_nir": (("fr_FR", "ssn"),),
    "es_dni": (("es_ES", "nif"), ("es_ES", "nie")),
    "it_cf": (("it_IT", "ssn"),),
    "nl_bsn": (("nl_NL", "ssn"),),
    "pl_pesel": (("pl_PL", "pesel"),),
    "br_cpf": (("pt_BR", "cpf"),),
    "in_aadhaar": (("en_IN", "aadhaar_id"),),
    "ch_ahv": (("de_CH", "ssn"),),
    "se_pnr": (("sv_SE", "ssn"),),
    "be_nrn": (("nl_BE", "ssn"),),
}  # fmt: skip


def invent(count: int, seed: int) -> dict[str, list[str]]:
    """`count` values of each kind, from every locale alike."""
    from faker import Faker

    found: dict[str, list[str]] = {}
    for kind, sources in INVENTED.items():
        values = found[kind] = []
        for locale, provider in sources:
            fake = Faker(locale)
            fake.seed_instance(seed)
            values += [str(getattr(fake, provider)()) for _ in range(-(-count // len(sources)))]
    return found


def read(recognizers: dict[str, str], texts: list[str], least: float) -> dict[str, Any]:
    """kind -> [spans by text, processor time in microseconds a text] of Presidio's recognizers."""
    import presidio_analyzer.predefined_recognizers as known

    answer: dict[str, Any] = {}
    for kind, name in recognizers.items():
        one = getattr(known, name)()
        begun = time.process_time()
        spans = [
            [
                [found.start, found.end]
                for found in one.analyze(text, one.supported_entities, None) or []
                if found.score >= least
            ]
            for text in texts
        ]
        answer[kind] = [spans, (time.process_time() - begun) / len(texts) * 1e6]
    return answer


if __name__ == "__main__":
    task = json.load(sys.stdin)
    json.dump({"invented": invent(**task["invent"]), "read": read(**task["read"])}, sys.stdout)
