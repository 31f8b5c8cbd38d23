"""Check digits: what tells a card number, an IBAN or a national id from digits that look like one.

A check is data. `holds` reads it in Python; `tocsin.store.checks` prints the same data as SQL, and
the tests hold the two to the same verdict. All of them take *compact* text: capital letters and
digits only, already known to have the right shape.
"""

from __future__ import annotations

from dataclasses import dataclass

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Luhn:
    """ISO/IEC 7812-1 annex B: every second digit from the right doubled, the sum divides by ten."""

    def holds(self, text: str) -> bool:
        """Whether the last digit is the check digit of those before it."""
        total = 0
        for place, digit in enumerate(reversed(text)):
            value = int(digit) * (1 + place % 2)
            total += value - 9 * (value > 9)
        return total % 10 == 0


@dataclass(frozen=True, slots=True)
class Mod97:
    """ISO/IEC 7064 mod 97-10 as in an IBAN (ISO 13616): letters as numbers, head moved to the end.

    head: how many characters are moved. remainder: what must be left over.
    """

    head: int = 4
    remainder: int = 1

    def holds(self, text: str) -> bool:
        """Whether the number that the text spells leaves `remainder` when divided by 97."""
        moved = text[self.head :] + text[: self.head]
        return int("".join(str(int(char, 36)) for char in moved)) % 97 == self.remainder


@dataclass(frozen=True, slots=True)
class Key97:
    """The last two digits are 97 less the rest modulo 97 (French NIR, Belgian national number).

    replaced: letters of the text -> digits that stand for them. prefixes: the check may hold with
    one of these before the number (Belgium writes a 2 before it for people born since 2000).
    """

    replaced: tuple[tuple[str, str], ...] = ()
    prefixes: tuple[str, ...] = ("",)

    def holds(self, text: str) -> bool:
        """Whether the last two digits are the key of those before them."""
        for letters, digits in self.replaced:
            text = text.replace(letters, digits)
        number, key = text[:-2], int(text[-2:])
        return any(97 - int(prefix + number) % 97 == key for prefix in self.prefixes)


@dataclass(frozen=True, slots=True)
class Weighted:
    """The digits times their weights sum to a multiple of `modulus`."""

    weights: tuple[int, ...]
    modulus: int

    def holds(self, text: str) -> bool:
        """Whether the weighted sum of as many digits as there are weights fits."""
        total = sum(w * int(digit) for w, digit in zip(self.weights, text, strict=False))
        return total % self.modulus == 0


@dataclass(frozen=True, slots=True)
class Cpf:
    """Brazil's CPF: two check digits, each a weighted sum modulo 11 with 10 taken as 0."""

    def holds(self, text: str) -> bool:
        """Whether both digits fit; one digit eleven times fits too and is nobody's number."""
        if text == text[0] * len(text):
            return False
        return all(
            sum((size + 1 - i) * int(text[i]) for i in range(size)) * 10 % 11 % 10
            == int(text[size])
            for size in (9, 10)
        )


@dataclass(frozen=True, slots=True)
class Letter:
    """The last letter is found in `letters` at the number before it, modulo their count (Spain).

    leading: letters that stand for a digit at the start (NIE: X, Y and Z for 0, 1 and 2).
    """

    letters: str
    leading: str = ""

    def holds(self, text: str) -> bool:
        """Whether the last letter belongs to the number."""
        first = str(self.leading.index(text[0])) if text[0] in self.leading else text[0]
        return self.letters[int(first + text[1:-1]) % len(self.letters)] == text[-1]


@dataclass(frozen=True, slots=True)
class Iso7064:
    """ISO/IEC 7064 mod 11,10 (German tax id), where exactly one digit comes two or three times."""

    def holds(self, text: str) -> bool:
        """Whether the last digit fits, and the first ten are as the tax office gives them out."""
        counts = sorted(text[:10].count(digit) for digit in set(text[:10]))
        if counts[-1] not in (2, 3) or counts[-2] != 1:
            return False
        product = 10
        for digit in text[:10]:
            total = (int(digit) + product) % 10 or 10
            product = total * 2 % 11
        return (11 - product) % 10 == int(text[10])


@dataclass(frozen=True, slots=True)
class Verhoeff:
    """Verhoeff's check over the dihedral group D5 (Aadhaar)."""

    def holds(self, text: str) -> bool:
        """Whether the product of all permuted digits is the neutral element."""
        state = 0
        for place, digit in enumerate(reversed(text)):
            state = DIHEDRAL[state][PERMUTED[place % 8][int(digit)]]
        return state == 0


@dataclass(frozen=True, slots=True)
class FiscalCode:
    """Italy's codice fiscale: odd places by a table, even ones by their order, modulo 26."""

    def holds(self, text: str) -> bool:
        """Whether the last letter belongs to the fifteen characters before it."""
        total = sum(
            ODD_PLACES[ALPHABET.index(char)] if place % 2 == 0 else _plain(char)
            for place, char in enumerate(text[:15])
        )
        return _LETTERS[total % 26] == text[15]


@dataclass(frozen=True, slots=True)
class Prefix:
    """The text does not start with one of `refused` (of equal length)."""

    refused: tuple[str, ...]

    def holds(self, text: str) -> bool:
        """Whether none of the refused prefixes is there."""
        return not text.startswith(self.refused)


Check = Luhn | Mod97 | Key97 | Weighted | Cpf | Letter | Iso7064 | Verhoeff | FiscalCode | Prefix

ALPHABET = "0123456789" + _LETTERS
# Values of characters in odd places (counted from one), in the order of ALPHABET.
ODD_PLACES = (
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21,
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
)  # fmt: skip
EVEN_PLACES = tuple(range(10)) + tuple(range(26))


def _plain(char: str) -> int:
    return EVEN_PLACES[ALPHABET.index(char)]


def _dihedral(a: int, b: int) -> int:
    """The product of two elements of D5, rotations 0 to 4 and reflections 5 to 9."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5


def _permutations() -> tuple[tuple[int, ...], ...]:
    """Verhoeff's permutation and its powers, from the identity to the seventh."""
    rows = [tuple(range(10))]
    step = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    for _ in range(7):
        rows.append(tuple(rows[-1][step[i]] for i in range(10)))
    return tuple(rows)


DIHEDRAL = tuple(tuple(_dihedral(a, b) for b in range(10)) for a in range(10))
PERMUTED = _permutations()
