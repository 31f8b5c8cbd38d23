"""The check digits of `tocsin.domain.checksums` as SQL, each printed from its own data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tocsin.domain import checksums
from tocsin.domain.checksums import ALPHABET, DIHEDRAL, EVEN_PLACES, ODD_PLACES, PERMUTED, Check
from tocsin.store.sqltext import array, quoted

_TO_NUMBER = [str(int(char, 36)) for char in ALPHABET]


TEXT = "c"
DIGITS = "ds"


def check_sql(check: Check) -> str:
    """SQL: `check` holds for column TEXT. What has another shape may get any answer.

    Column DIGITS holds the text's digits, see `digits_sql`.
    """
    return _PRINTERS[type(check)](check)


def digits_sql(text: str) -> str:
    """SQL: every character of a text as a number, 0 for what is no digit."""
    return f"arrayMap(d -> toInt64OrZero(d), splitByString('', {text}))"


def _luhn() -> str:
    values = [*range(10), *(sum(divmod(2 * digit, 10)) for digit in range(10))]
    total = f"arraySum((d, i) -> {values}[(1 - i % 2) * 10 + d + 1],"
    return f"{total} arrayReverse({DIGITS}), arrayEnumerate({DIGITS})) % 10 = 0"


def _mod97(check: checksums.Mod97) -> str:
    moved = f"concat(substring({TEXT}, {check.head + 1}), substring({TEXT}, 1, {check.head}))"
    number = (
        f"arrayStringConcat(arrayMap(d -> transform(d, {array(tuple(ALPHABET))},"
        f" {array(_TO_NUMBER)}, ''), splitByString('', {moved})))"
    )
    return f"toUInt256OrZero({number}) % 97 = {check.remainder}"


def _key97(check: checksums.Key97) -> str:
    plain = TEXT
    for letters, digits in check.replaced:
        plain = f"replaceAll({plain}, {quoted(letters)}, {quoted(digits)})"
    number = f"substring({plain}, 1, length({plain}) - 2)"
    key = f"toInt64OrZero(substring({plain}, length({plain}) - 1))"
    tests = (
        f"97 - toInt64OrZero(concat({quoted(prefix)}, {number})) % 97 = {key}"
        for prefix in check.prefixes
    )
    return f"({' OR '.join(tests)})"


def _weighted(check: checksums.Weighted) -> str:
    weights = list(check.weights)
    first = f"arrayResize({DIGITS}, {len(weights)})"
    return f"toInt64(arrayDotProduct({first}, {weights})) % {check.modulus} = 0"


def _cpf() -> str:
    tests = [f"arrayUniq({DIGITS}) > 1"]
    for size in (9, 10):
        weights = list(range(size + 1, 1, -1))
        total = f"toInt64(arrayDotProduct(arrayResize({DIGITS}, {size}), {weights}))"
        tests.append(f"{total} * 10 % 11 % 10 = {DIGITS}[{size + 1}]")
    return f"({' AND '.join(tests)})"


def _letter(check: checksums.Letter) -> str:
    first = TEXT
    if check.leading:
        places = "".join(str(i) for i in range(len(check.leading)))
        first = f"translate({TEXT}, {quoted(check.leading)}, {quoted(places)})"
    number = f"toInt64OrZero(substring({first}, 1, length({TEXT}) - 1))"
    letter = f"substring({quoted(check.letters)}, {number} % {len(check.letters)} + 1, 1)"
    return f"endsWith({TEXT}, {letter})"


def _iso7064() -> str:
    first = f"arraySlice({DIGITS}, 1, 10)"
    # Ten digits of which nine differ have one pair; of which eight differ, a triple or two pairs.
    repeated = (
        f"(arrayUniq({first}) = 9 OR arrayUniq({first}) = 8"
        f" AND arrayExists((d, n) -> n = 3, {first}, arrayEnumerateUniq({first})))"
    )
    product = f"arrayFold((p, d) -> toInt64(((d + p + 9) % 10 + 1) * 2 % 11), {first}, toInt64(10))"
    return f"{repeated} AND (11 - {product}) % 10 = {DIGITS}[11]"


def _verhoeff() -> str:
    back = f"arrayReverse({DIGITS})"
    permuted = [value for row in PERMUTED for value in row]
    product = [value for row in DIHEDRAL for value in row]
    places = (
        f"arrayMap((d, i) -> {permuted}[(i - 1) % 8 * 10 + d + 1],"
        f" {back}, arrayEnumerate({DIGITS}))"
    )
    return f"arrayFold((s, x) -> toInt64({product}[s * 10 + x + 1]), {places}, toInt64(0)) = 0"


def _fiscal_code() -> str:
    values = [*EVEN_PLACES, *ODD_PLACES]
    chars = f"arraySlice(splitByString('', {TEXT}), 1, 15)"
    value = f"{values}[i % 2 * 36 + position({quoted(ALPHABET)}, d)]"
    total = f"arraySum((d, i) -> {value}, {chars}, arrayEnumerate({chars}))"
    return f"substring({quoted(ALPHABET[10:])}, {total} % 26 + 1, 1) = substring({TEXT}, 16, 1)"


def _prefix(check: checksums.Prefix) -> str:
    size = len(check.refused[0])
    return f"substring({TEXT}, 1, {size}) NOT IN ({', '.join(map(quoted, check.refused))})"


_PRINTERS: dict[type[Any], Callable[[Any], str]] = {
    checksums.Luhn: lambda _: _luhn(),
    checksums.Mod97: _mod97,
    checksums.Key97: _key97,
    checksums.Weighted: _weighted,
    checksums.Cpf: lambda _: _cpf(),
    checksums.Letter: _letter,
    checksums.Iso7064: lambda _: _iso7064(),
    checksums.Verhoeff: lambda _: _verhoeff(),
    checksums.FiscalCode: lambda _: _fiscal_code(),
    checksums.Prefix: _prefix,
}
