"""National identification numbers: how each is written, and the office's own check on it.

Where the check passes more than one random number in fifty, the number counts only in its official
grouping or after its name.
"""

from __future__ import annotations

from tocsin.domain.checksums import (
    Cpf,
    FiscalCode,
    Iso7064,
    Key97,
    Letter,
    Luhn,
    Prefix,
    Verhoeff,
    Weighted,
)
from tocsin.domain.recogniser import BEFORE, LEAD, TRAIL, Form, Recogniser, named, noticed

_SPAIN = "TRWAGMYFPDXBNJZSQVHLCKE"

NATIONAL_IDS: tuple[Recogniser, ...] = (
    Recogniser(
        "us_ssn",
        "national_id",
        "US social security numbers: grouped, or bare after their name",
        rf"{BEFORE}[0-9]{{3}}[ \-][0-9]{{2}}[ \-][0-9]{{4}}|"
        + noticed(9, "ssn", "social security"),
        (
            Form(LEAD, rf"[0-9]{{3}}(?:-[0-9]{{2}}-| [0-9]{{2}} )[0-9]{{4}}{TRAIL}"),
            Form(named("ssn", "social security"), rf"[0-9]{{9}}{TRAIL}"),
        ),
        "[ssn]",
        shape=r"(?:00[1-9]|0[1-9][0-9]|[1-57-8][0-9]{2}|6(?:[0-57-9][0-9]|6[0-57-9]))"
        r"(?:0[1-9]|[1-9][0-9])(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})",
        digits=9,
    ),
    Recogniser(
        "uk_nino",
        "national_id",
        "UK national insurance numbers",
        r"[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        (
            Form(
                LEAD,
                r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]" + TRAIL,
            ),
        ),
        "[nino]",
        shape=r"[A-Z]{2}[0-9]{6}[A-D]",
        check=Prefix(("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")),
        digits=6,
    ),
    Recogniser(
        "de_tax_id",
        "national_id",
        "German tax identification numbers, with check digit",
        rf"{BEFORE}[0-9]{{2}}(?:[0-9]{{9}}| [0-9]{{3}} [0-9]{{3}} [0-9]{{3}})",
        (Form(LEAD, rf"[1-9][0-9](?:[0-9]{{9}}| [0-9]{{3}} [0-9]{{3}} [0-9]{{3}}){TRAIL}"),),
        "[tax id]",
        shape=r"[1-9][0-9]{10}",
        check=Iso7064(),
        digits=11,
    ),
    Recogniser(
        "fr_nir",
        "national_id",
        "French social security numbers (NIR), with key",
        rf"{BEFORE}[12] ?[0-9]{{2}} ?[0-9]{{2}} ?[0-9][0-9AB] ?[0-9]{{3}} ?[0-9]{{3}}",
        (
            Form(
                LEAD,
                r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}" + TRAIL,
            ),
        ),
        "[nir]",
        shape=r"[12][0-9]{2}(?:0[1-9]|1[0-2]|[2-9][0-9])(?:[0-9]{2}|2[AB])[0-9]{8}",
        check=Key97(replaced=(("2A", "19"), ("2B", "18"))),
        digits=13,
    ),
    Recogniser(
        "es_dni",
        "national_id",
        "Spanish DNI and NIE, with check letter",
        rf"{BEFORE}[0-9XYZ]-?[0-9]{{7}}-?[A-Z]",
        (Form(LEAD, rf"(?:[0-9]{{8}}|[XYZ]-?[0-9]{{7}})-?[A-Z]{TRAIL}"),),
        "[dni]",
        shape=r"[0-9XYZ][0-9]{7}[A-Z]",
        check=Letter(_SPAIN, "XYZ"),
        digits=7,
    ),
    Recogniser(
        "it_cf",
        "national_id",
        "Italian fiscal codes, with check letter",
        r"[A-Z]{6}[0-9L-V]{2}[A-EHLMPRST][0-9L-V]{2}[A-Z]",
        (
            Form(
                LEAD,
                r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]" + TRAIL,
            ),
        ),
        "[fiscal code]",
        shape=r"[0-9A-Z]{16}",
        check=FiscalCode(),
    ),
    Recogniser(
        "nl_bsn",
        "national_id",
        "Dutch citizen service numbers after their name, with the 11-test",
        noticed(4, "bsn", "burgerservicenummer", "sofinummer"),
        (
            Form(
                named("bsn", "burgerservicenummer", "sofinummer"),
                rf"[0-9]{{4}}[. ]?[0-9]{{2}}[. ]?[0-9]{{3}}{TRAIL}",
            ),
        ),
        "[bsn]",
        shape=r"[0-9]{9}",
        check=Weighted((9, 8, 7, 6, 5, 4, 3, 2, -1), 11),
        digits=9,
    ),
    Recogniser(
        "pl_pesel",
        "national_id",
        "Polish PESEL numbers, with date and check digit",
        rf"{BEFORE}[0-9]{{11}}",
        (Form(LEAD, rf"[0-9]{{11}}{TRAIL}"),),
        "[pesel]",
        shape=r"[0-9]{2}(?:[02468][1-9]|[13579][0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{5}",
        check=Weighted((1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10),
        digits=11,
    ),
    Recogniser(
        "br_cpf",
        "national_id",
        "Brazilian CPF numbers, with both check digits",
        rf"{BEFORE}[0-9]{{3}}(?:\.[0-9]{{3}}\.[0-9]{{3}}-|[0-9]{{6}})[0-9]{{2}}",
        (Form(LEAD, rf"[0-9]{{3}}(?:\.[0-9]{{3}}\.[0-9]{{3}}-|[0-9]{{6}})[0-9]{{2}}{TRAIL}"),),
        "[cpf]",
        shape=r"[0-9]{11}",
        check=Cpf(),
        digits=11,
    ),
    Recogniser(
        "in_aadhaar",
        "national_id",
        "Aadhaar numbers: grouped, or bare after their name, with Verhoeff's digit",
        rf"{BEFORE}[2-9][0-9]{{3}}[ \-][0-9]{{4}}[ \-][0-9]{{4}}|"
        + noticed(12, "aadhaar", "uidai"),
        (
            Form(LEAD, rf"[2-9][0-9]{{3}}(?: [0-9]{{4}} |-[0-9]{{4}}-)[0-9]{{4}}{TRAIL}"),
            Form(named("aadhaar", "uidai"), rf"[2-9][0-9]{{11}}{TRAIL}"),
        ),
        "[aadhaar]",
        shape=r"[2-9][0-9]{11}",
        check=Verhoeff(),
        digits=12,
    ),
    Recogniser(
        "ch_ahv",
        "national_id",
        "Swiss AHV numbers, with check digit",
        rf"{BEFORE}756\.?[0-9]{{4}}\.?[0-9]{{4}}",
        (Form(LEAD, rf"756(?:\.[0-9]{{4}}\.[0-9]{{4}}\.[0-9]{{2}}|[0-9]{{10}}){TRAIL}"),),
        "[ahv]",
        shape=r"756[0-9]{10}",
        check=Weighted((1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1), 10),
        digits=13,
    ),
    Recogniser(
        "se_pnr",
        "national_id",
        "Swedish personal numbers, with date and Luhn's digit",
        rf"{BEFORE}[0-9]{{6}}[\-+][0-9]{{4}}",
        (Form(LEAD, rf"[0-9]{{6}}[\-+][0-9]{{4}}{TRAIL}"),),
        "[pnr]",
        shape=r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]|[67][0-9]|8[0-9]|9[01])[0-9]{4}",
        check=Luhn(),
        digits=10,
    ),
    Recogniser(
        "be_nrn",
        "national_id",
        "Belgian national register numbers, with key",
        rf"{BEFORE}[0-9]{{2}}(?:\.[0-9]{{2}}\.[0-9]{{2}}-[0-9]{{3}}\.|[0-9]{{7}})[0-9]{{2}}",
        (
            Form(
                LEAD,
                rf"[0-9]{{2}}(?:\.[0-9]{{2}}\.[0-9]{{2}}-[0-9]{{3}}\.|[0-9]{{7}})[0-9]{{2}}{TRAIL}",
            ),
        ),
        "[nrn]",
        shape=r"[0-9]{2}(?:0[0-9]|1[0-2]|[24][0-9]|[35][0-2])(?:0[0-9]|[12][0-9]|3[01])[0-9]{5}",
        check=Key97(prefixes=("", "2")),
        digits=11,
    ),
)
