"""A labelled sample of texts: personal data and secrets in sentences, and what only looks like it.

Values are made from what the issuers publish about their numbers, not from the patterns that look
for them; check digits are computed here. Every value stands in sentences, in JSON, in code and
glued to punctuation. Negatives are what LLM telemetry is full of: ids, hashes, versions, times,
prices, order numbers of a card's length, and numbers that miss their check digit by one.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

Maker = Callable[[Random], str]

SENTENCES = (
    "Please update my record, it is {v}.",
    "My details: {v}, thanks!",
    '{{"role": "user", "content": "here you go: {v}"}}',
    'log.info("value=%s", "{v}")',
    "{v}",
    "- item one\n- {v}\n- item three",
    r'{{"content": "first line\n{v}\nlast line"}}',
    "(see {v})",
    "客户提供了 {v} 作为参考",
    "I wrote down {v} and then {w} as well",
)
NAMED = {
    "phone": ("Phone: {v}", "You can reach me under {v} after six", '"phone_number": "{v}"'),
    "us_ssn": ("SSN {v}", "my social security number is {v}"),
    "nl_bsn": ("BSN: {v}", "Mijn burgerservicenummer is {v}", "bsn nummer {v}"),
    "in_aadhaar": ("Aadhaar {v}", "aadhaar number: {v}"),
    "de_tax_id": ("Steuer-ID {v}", "IdNr. {v}"),
    "pl_pesel": ("PESEL {v}", "pesel: {v}"),
    "auth_header": ("Authorization: Bearer {v}", "curl -H 'x-api-key: {v}' https://x.example"),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text; what of it is somebody's ("" for nothing), and of which kind."""

    text: str
    kind: str = ""
    values: tuple[str, ...] = ()


def digits(rng: Random, count: int, first: str = "0123456789") -> str:
    return rng.choice(first) + "".join(rng.choice("0123456789") for _ in range(count - 1))


def letters(rng: Random, count: int, alphabet: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ") -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def token(rng: Random, count: int) -> str:
    mixed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return letters(rng, count, mixed)


def luhn(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 - place % 2)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def dotted(rng: Random, *most: int) -> str:
    return ".".join(str(rng.randint(0, one)) for one in most)


def spaced(text: str, *sizes: int, by: str = " ") -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return by.join(part for part in (*parts, text[at:]) if part)


def card(rng: Random) -> str:
    prefix, size = rng.choice((
        ("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16),
        ("3530", 16), ("36", 14), ("62", 16),
    ))  # fmt: skip
    number = luhn(prefix + digits(rng, size - len(prefix) - 1))
    by = rng.choice(("", "", " ", "-"))
    if size == 16:
        return spaced(number, 4, 4, 4, by=by)
    return spaced(number, 4, 6, by="" if by == "-" else by)


def iban(rng: Random) -> str:
    country, size, alpha = rng.choice((("DE", 18, 0), ("GB", 18, 4), ("FR", 23, 0), ("NL", 14, 4),
                                       ("ES", 20, 0), ("IT", 23, 1), ("CH", 17, 0), ("PL", 24, 0),
                                       ("NO", 11, 0), ("MT", 27, 4), ("BE", 12, 0)))  # fmt: skip
    account = letters(rng, alpha) + digits(rng, size - alpha)
    number = "".join(str(int(char, 36)) for char in account + country + "00")
    whole = f"{country}{98 - int(number) % 97:02d}{account}"
    return spaced(whole, *[4] * 9) if rng.random() < 0.5 else whole


def email(rng: Random) -> str:
    name = rng.choice(("jane", "j.doe", "müller", "o-brien", "x_y", "info+tag", "li.wei99"))
    host = rng.choice(("example.com", "mail.example.co.uk", "shop-24.example", "bücher.example"))
    return f"{name}@{host}".upper() if rng.random() < 0.1 else f"{name}@{host}"


def phone(rng: Random) -> str:
    area, line = digits(rng, 3, "23456789"), digits(rng, 4)
    area = area[0] + rng.choice("02345678") + area[2]
    middle = digits(rng, 3, "23456789")
    return rng.choice((
        f"+1 {area} {middle} {line}", f"+1-{area}-{middle}-{line}", f"({area}) {middle}-{line}",
        f"{area}-{middle}-{line}", f"{area}.{middle}.{line}", f"+1{area}{middle}{line}",
        f"+44 20 {digits(rng, 4, '3789')} {line}", f"+44 (0)161 {middle} {line}",
        f"07{digits(rng, 3)} {digits(rng, 6)}", f"020 {digits(rng, 4, '378')} {line}",
        f"+49 30 {digits(rng, 8, '123456789')}", f"030/{digits(rng, 7, '123456789')}",
        f"0171 {digits(rng, 7)}", f"+33 6 {spaced(digits(rng, 8), 2, 2, 2)}",
        f"06 {spaced(digits(rng, 8), 2, 2, 2)}", f"+81 3 {digits(rng, 4)} {line}",
        f"03-{digits(rng, 4, '3456')}-{line}", f"+91 {digits(rng, 5, '6789')} {digits(rng, 5)}",
        f"(11) 9{digits(rng, 4)}-{line}", f"+86 138 {digits(rng, 4)} {line}",
        f"1-800-{middle}-{line}", f"0049 89 {digits(rng, 7, '123456789')}",
    ))  # fmt: skip


def ssn(rng: Random) -> str:
    area = rng.choice((rng.randint(1, 665), rng.randint(667, 899)))
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def nino(rng: Random) -> str:
    prefix = rng.choice(("AB", "CE", "JM", "PR", "WZ", "SX", "HK"))
    body = digits(rng, 6)
    by = rng.choice(("", " "))
    return by.join((prefix, body[:2], body[2:4], body[4:], rng.choice("ABCD")))


def tax_id(rng: Random) -> str:
    chosen = rng.sample("123456789", 9)
    body = [*chosen, rng.choice(chosen)]
    rng.shuffle(body)
    product = 10
    for digit in body:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    number = "".join(body) + str((11 - product) % 10)
    return spaced(number, 2, 3, 3) if rng.random() < 0.5 else number


def nir(rng: Random) -> str:
    body = (
        f"{rng.choice('12')}{rng.randint(30, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 95):02d}"
    )
    body += digits(rng, 6)
    number = f"{body}{97 - int(body) % 97:02d}"
    return spaced(number, 1, 2, 2, 2, 3, 3) if rng.random() < 0.5 else number


def dni(rng: Random) -> str:
    table = "TRWAGMYFPDXBNJZSQVHLCKE"
    if rng.random() < 0.3:
        first, body = rng.choice("XYZ"), digits(rng, 7)
        return f"{first}{body}{table[int(str('XYZ'.index(first)) + body) % 23]}"
    body = digits(rng, 8)
    return f"{body}{rng.choice(('', '-'))}{table[int(body) % 23]}"


def fiscal_code(rng: Random) -> str:
    odd = dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True))
    odd |= dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                    (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10,
                     22, 25, 24, 23), strict=True))  # fmt: skip
    body = (
        letters(rng, 6, "BCDFGLMNPRSTV") + f"{rng.randint(0, 99):02d}" + rng.choice("ABCDEHLMPRST")
    )
    body += f"{rng.randint(1, 31):02d}" + rng.choice("ABCDEFGHIL") + digits(rng, 3)
    total = sum(
        odd[char] if place % 2 == 0 else (int(char) if char.isdigit() else ord(char) - 65)
        for place, char in enumerate(body)
    )
    return body + chr(65 + total % 26)


def bsn(rng: Random) -> str:
    while True:
        body = digits(rng, 8, "123456789")
        rest = sum(w * int(d) for w, d in zip(range(9, 1, -1), body, strict=True)) % 11
        if rest < 10:
            return body + str(rest)


def pesel(rng: Random) -> str:
    body = f"{rng.randint(0, 99):02d}{rng.choice((0, 20)) + rng.randint(1, 12):02d}"
    body += f"{rng.randint(1, 28):02d}" + digits(rng, 4)
    total = sum(w * int(d) for w, d in zip((1, 3, 7, 9) * 3, body, strict=False))
    return body + str(-total % 10)


def cpf(rng: Random) -> str:
    number = digits(rng, 9)
    for size in (9, 10):
        number += str(sum((size + 1 - i) * int(number[i]) for i in range(size)) * 10 % 11 % 10)
    formatted = f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"
    return formatted if rng.random() < 0.7 else number


def aadhaar(rng: Random) -> str:
    product = [[(a + b) % 5 if b < 5 else 5 + (a + b) % 5 for b in range(10)] for a in range(5)]
    product += [
        [5 + (a - b) % 5 if b < 5 else (a - b) % 5 for b in range(10)] for a in range(5, 10)
    ]
    step, rows = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4), [list(range(10))]
    for _ in range(7):
        rows.append([rows[-1][step[i]] for i in range(10)])
    body = digits(rng, 11, "23456789")
    state = 0
    for place, digit in enumerate(reversed(body), start=1):
        state = product[state][rows[place % 8][int(digit)]]
    return spaced(body + str(next(i for i in range(10) if product[state][i] == 0)), 4, 4)


def ahv(rng: Random) -> str:
    body = "756" + digits(rng, 9)
    total = sum(int(d) * (1 + 2 * (i % 2)) for i, d in enumerate(body))
    return spaced(body + str(-total % 10), 3, 4, 4, by=".")


def personnummer(rng: Random) -> str:
    body = f"{rng.randint(40, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{digits(rng, 3)}"
    number = luhn(body)
    return f"{number[:6]}-{number[6:]}"


def national_register(rng: Random) -> str:
    body = f"{rng.randint(40, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{digits(rng, 3)}"
    key = 97 - int(body) % 97
    return f"{body[:2]}.{body[2:4]}.{body[4:6]}-{body[6:]}.{key:02d}"


def ipv4(rng: Random) -> str:
    first = rng.choice([n for n in range(1, 224) if n != 127])
    return ".".join(str(n) for n in (first, *(rng.randint(0, 255) for _ in range(3))))


def ipv6(rng: Random) -> str:
    groups = [rng.choice(("2001", "2a02", "fe80", "fd12"))]
    groups += [f"{rng.randint(1, 65535):x}" for _ in range(7)]
    return ":".join(groups) if rng.random() < 0.5 else ":".join(groups[:3]) + "::" + groups[7]


def api_key(rng: Random) -> str:
    return rng.choice((
        f"sk-{token(rng, 48)}", f"sk-proj-{token(rng, 60)}", f"sk-ant-api03-{token(rng, 80)}",
        f"AKIA{letters(rng, 16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}", f"ghp_{token(rng, 36)}",
        f"github_pat_{token(rng, 22)}_{token(rng, 59)}", f"AIza{token(rng, 35)}",
        f"xoxb-{digits(rng, 12)}-{token(rng, 24)}", f"hf_{token(rng, 34)}",
        f"sk_live_{token(rng, 24)}", f"glpat-{token(rng, 20)}", f"gsk_{token(rng, 52)}",
    ))  # fmt: skip


def jwt(rng: Random) -> str:
    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    claims = f'{{"sub":"{digits(rng, 10)}","iat":{digits(rng, 10)}}}'
    head = '{"alg":"HS256","typ":"JWT"}'
    return f"{part(head)}.{part(claims)}.{token(rng, 43)}"


def private_key(rng: Random) -> str:
    kind = rng.choice(("RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "))
    lines = "\n".join(token(rng, 64) for _ in range(4))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def secret(rng: Random) -> str:
    return token(rng, 31) + digits(rng, 1)


POSITIVE: dict[str, Maker] = {
    "email": email, "phone": phone, "card": card, "iban": iban, "ipv4": ipv4, "ipv6": ipv6,
    "api_key": api_key, "jwt": jwt, "private_key": private_key, "auth_header": secret,
    "url_password": secret, "us_ssn": ssn, "uk_nino": nino, "de_tax_id": tax_id, "fr_nir": nir,
    "es_dni": dni, "it_cf": fiscal_code, "nl_bsn": bsn, "pl_pesel": pesel, "br_cpf": cpf,
    "in_aadhaar": aadhaar, "ch_ahv": ahv, "se_pnr": personnummer, "be_nrn": national_register,
}  # fmt: skip
ONLY_NAMED = ("nl_bsn", "auth_header")


def _off_by_one(maker: Maker) -> Maker:
    """The same with its last digit or letter wrong: of the right shape and nobody's."""

    def make(rng: Random) -> str:
        value = maker(rng)
        last = value[-1]
        wrong = str((int(last) + 1) % 10) if last.isdigit() else chr((ord(last) - 64) % 26 + 65)
        return value[:-1] + wrong

    return make


NEGATIVE: dict[str, Maker] = {
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "sha": lambda rng: f"{rng.getrandbits(160):040x}",
    "trace id": lambda rng: f"{rng.getrandbits(128):032x}",
    "span id": lambda rng: f"{rng.getrandbits(64):016x}",
    "response id": lambda rng: rng.choice(("chatcmpl-", "msg_", "call_", "resp_")) + token(rng, 29),
    "order number": lambda rng: f"ORD-{digits(rng, 4)}-{digits(rng, 8)}",
    "long number": lambda rng: digits(rng, rng.choice((9, 10, 12, 13, 14, 17, 18)), "123456789"),
    "timestamp": lambda rng: f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    f" {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}.{digits(rng, 6)}",
    "date": lambda rng: f"{rng.randint(1, 28):02d}.{rng.randint(1, 12):02d}.20{digits(rng, 2)}",
    "epoch": lambda rng: f"17{digits(rng, rng.choice((8, 11, 14, 17)))}",
    "version": lambda rng: f"v{dotted(rng, 20, 99, 9, 9)}",
    "release": lambda rng: f"version {dotted(rng, 20, 99, 9, 9)}",
    "user agent": lambda rng: f"Chrome/{dotted(rng, 140, 0, 9, 200)}",
    "price": lambda rng: f"${digits(rng, 3, '12')},{digits(rng, 3)},{digits(rng, 3)}.99",
    "float": lambda rng: f"0.{digits(rng, 16)}",
    "vector": lambda rng: str([round(rng.uniform(-1, 1), 8) for _ in range(8)]),
    "powers": lambda rng: " ".join(str(2**n) for n in range(rng.randint(5, 8), 13)),
    "isbn": lambda rng: f"978-{digits(rng, 1)}-{digits(rng, 2)}-{digits(rng, 6)}-{digits(rng, 1)}",
    "range": lambda rng: f"pages {digits(rng, 3, '123')}-{digits(rng, 3, '456')}",
    "decorator": lambda rng: f"@app.get('/x{digits(rng, 3)}')",
    "git remote": lambda rng: f"git@github.com:acme/web{digits(rng, 2)}.git",
    "asset": lambda rng: f"icon{digits(rng, 2)}@2x.png",
    "package": lambda rng: f"lodash@{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}",
    "mac address": lambda rng: ":".join(f"{rng.randint(0, 255):02x}" for _ in range(6)),
    "c++": lambda rng: f"std::vector<int> v{digits(rng, 2)}; a::b::c{digits(rng, 1)}()",
    "tracking number": lambda rng: f"1Z{token(rng, 16).upper()}",
    "coordinates": lambda rng: f"{rng.uniform(-90, 90):.6f}, {rng.uniform(-180, 180):.6f}",
    "math": lambda rng: f"{digits(rng, 4, '12')} + {digits(rng, 5, '34')} = {digits(rng, 6, '56')}",
    **{f"wrong {name}": _off_by_one(POSITIVE[name]) for name in (
        "card", "iban", "de_tax_id", "fr_nir", "es_dni", "it_cf", "pl_pesel", "br_cpf",
        "in_aadhaar", "ch_ahv", "se_pnr", "be_nrn",
    )},
}  # fmt: skip


def sample(per_kind: int, seed: int) -> list[Labelled]:
    """`per_kind` texts of every kind of value and of every kind of look-alike."""
    rng = Random(seed)
    found = []
    for kind, maker in POSITIVE.items():
        for number in range(per_kind):
            found.append(_positive(rng, kind, maker, number))
    for maker in NEGATIVE.values():
        for number in range(per_kind):
            v, w = maker(rng), maker(rng)
            found.append(Labelled(SENTENCES[number % len(SENTENCES)].format(v=v, w=w)))
    return found


def _positive(rng: Random, kind: str, maker: Maker, number: int) -> Labelled:
    values = (maker(rng), maker(rng))
    if kind == "url_password":
        text = f"postgres://app:{values[0]}@db{digits(rng, 1)}.internal/main"
        frame = SENTENCES[number % (len(SENTENCES) - 1)]
        return Labelled(frame.format(v=text), kind, values[:1])
    named = NAMED.get(kind, ())
    frames = named if kind in ONLY_NAMED else (*SENTENCES, *named)
    frame = frames[number % len(frames)]
    text = frame.format(v=values[0], w=values[1])
    return Labelled(text, kind, values if "{w}" in frame else values[:1])
