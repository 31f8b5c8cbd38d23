"""Every recogniser there is, in the order in which they are applied: the longest values first.

Sources: the networks' number ranges (ISO/IEC 7812), SWIFT's IBAN registry, E.164 and the North
American Numbering Plan, RFC 7519 (JWT), RFC 7468 (PEM), RFC 6750 (Bearer), and the prefixes that
vendors document for their keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tocsin.domain.checksums import Luhn, Mod97
from tocsin.domain.national_ids import NATIONAL_IDS
from tocsin.domain.recogniser import BEFORE, ESCAPE, LEAD, TRAIL, Form, Recogniser, named, word

_TOKEN = rf"(?:{ESCAPE}|[^0-9A-Za-z_])"
_LATIN = "\u00c0-\u024f"
_LOCAL = rf"0-9A-Za-z{_LATIN}._%+\-"

_AWS_NAME = r"(?:secret_?access_?key|SECRET_?ACCESS_?KEY|[Ss]ecretAccessKey)"
_KEY_WORDS = (
    "sk-", "AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_",
    "glpat-", "xox", "xapp-", "hooks.slack", "AIza", "ya29.", "GOCSPX-", "k_live_", "k_test_",
    "hf_", "npm_", "SG.", "gsk_", "xai-", "dapi", "ecret", "ECRET",
)  # fmt: skip
_PHONE_WORDS = ("phone", "tel", "telephone", "mobile", "cell", "fax", "whatsapp", "handy")
_IBAN_LENGTHS: Mapping[int, str] = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC",
    32: "LC", 33: "RU",
}  # fmt: skip
_IBAN = "|".join(
    rf"(?:{codes.replace(' ', '|')})[0-9]{{2}}(?:[ \-]?[0-9A-Z]){{{length - 4}}}"
    for length, codes in _IBAN_LENGTHS.items()
)
_CARDS = (
    r"4[0-9]{12}(?:[0-9]{3}){0,2}"
    r"|5[1-5][0-9]{14}"
    r"|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720|20[0-4])[0-9]{12}"
    r"|3[47][0-9]{13}"
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}"
    r"|62[0-9]{14,17}"
    r"|2131[0-9]{11}"
    r"|(?:50(?:18|20|38)|5[6-8][0-9]{2}|6304|6759|676[1-3])[0-9]{8,15}"
)
_EXTENSION = r"(?: ?(?:x|ext\.? ?)[0-9]{1,5})?"
_COUNTRY_CODES = (
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|2[1-689][0-9]|3[578][0-9]|42[0-9]|50[0-9]|59[0-9]|6[789][0-9]|8[05789][0-9]|9[679][0-9])"
)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_FIRST_OCTET = r"(?:25[0-4]|2[0-4][0-9]|1(?:[013-9][0-9]|2[0-689])|[1-9][0-9]?)"
_IPV4 = rf"{_FIRST_OCTET}(?:\.{_OCTET}){{3}}"
_HEX = r"[0-9A-Fa-f]{1,4}"
_HEAD = r"(?:[23][0-9A-Fa-f]{3}|[Ff][CcDdEe][0-9A-Fa-f]{2})"
_IPV6 = (
    rf"(?:[0-9A-Fa-f]{{3,4}}(?::{_HEX}){{7}}"
    rf"|{_HEAD}(?::{_HEX}){{1,5}}::(?:{_HEX}(?::{_HEX}){{0,4}})?"
    rf"|{_HEAD}::{_HEX}(?::{_HEX}){{0,5}})"
)

RECOGNISERS: tuple[Recogniser, ...] = (
    Recogniser(
        "private_key",
        "secret",
        "PEM private keys, whole or cut off",
        r"PRIVATE KEY(?: BLOCK)?-----",
        (
            Form(
                "",
                r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[^\-]|-[^\-])*"
                r"(?:-----END [A-Z ]{0,40}-----)?",
            ),
        ),
        "[private key]",
        hints=("PRIVATE KEY",),
    ),
    Recogniser(
        "jwt",
        "secret",
        "JSON Web Tokens",
        r"eyJ[0-9A-Za-z_\-]{10}",
        (Form(_TOKEN, r"eyJ[0-9A-Za-z_\-]{10,}\.[0-9A-Za-z_\-]{10,}\.[0-9A-Za-z_\-]{10,}"),),
        "[jwt]",
        hints=("eyJ",),
    ),
    Recogniser(
        "api_key",
        "secret",
        "keys of OpenAI, Anthropic, AWS, GitHub, GitLab, Slack, Google, Stripe, Hugging Face, npm, "
        "SendGrid, Groq, xAI, Databricks, and AWS secrets next to their name",
        r"sk-[0-9A-Za-z_\-]{16}|(?:AK|AS|AB|AC)[ICS]A[0-9A-Z]{16}|gh[pousr]_[0-9A-Za-z]{20}"
        r"|github_pat_[0-9A-Za-z]|glpat-[0-9A-Za-z]|xox[abeprs]-[0-9A-Za-z]|xapp-[0-9]"
        r"|hooks\.slack\.com/services/|AIza[0-9A-Za-z_\-]{30}|ya29\.[0-9A-Za-z]|GOCSPX-[0-9A-Za-z]"
        r"|[rsp]k_(?:live|test)_[0-9A-Za-z]|hf_[0-9A-Za-z]{30}|npm_[0-9A-Za-z]{30}|SG\.[0-9A-Za-z_\-]{20}"
        r"|gsk_[0-9A-Za-z]{30}|xai-[0-9A-Za-z]{30}|dapi[0-9a-f]{32}"
        rf"|{_AWS_NAME}",
        (
            Form(
                _TOKEN,
                r"(?:sk-(?:(?:proj|ant|svcacct|admin|or|live|test)-[0-9A-Za-z_\-]{20,}|[0-9A-Za-z]{20,})"
                r"|(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}"
                r"|gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{40,}|glpat-[0-9A-Za-z_\-]{20,}"
                r"|xox[abeprs]-[0-9A-Za-z\-]{10,}|xapp-[0-9]-[0-9A-Za-z\-]{20,}"
                r"|AIza[0-9A-Za-z_\-]{35}|ya29\.[0-9A-Za-z_\-]{20,}|GOCSPX-[0-9A-Za-z_\-]{20,}"
                r"|[rsp]k_(?:live|test)_[0-9A-Za-z]{16,}|hf_[0-9A-Za-z]{30,}|npm_[0-9A-Za-z]{30,}"
                r"|SG\.[0-9A-Za-z_\-]{20,}\.[0-9A-Za-z_\-]{20,}|gsk_[0-9A-Za-z]{40,}"
                r"|xai-[0-9A-Za-z]{40,}|dapi[0-9a-f]{32})",
            ),
            Form(
                rf"{_AWS_NAME}[^0-9A-Za-z\[\]\n]{{1,6}}",
                r"[0-9A-Za-z/+]{40}",
            ),
            Form(r"hooks\.slack\.com/services/", r"T[0-9A-Z]{6,}/B[0-9A-Z]{6,}/[0-9A-Za-z]{16,}"),
        ),
        "[key]",
        hints=_KEY_WORDS,
    ),
    Recogniser(
        "auth_header",
        "secret",
        "Bearer tokens, and what follows Authorization, X-API-Key or api_key",
        r"[Bb]earer [0-9A-Za-z._~+/\-]{16}|[Aa]uthorization|[Aa][Pp][Ii][_\- ]?[Kk][Ee][Yy]",
        (
            Form(r"[Bb]earer ", r"[0-9A-Za-z._~+/\-]{16,}=*"),
            Form(
                r"(?:[Aa]uthorization|[Aa][Pp][Ii][_\- ]?[Kk][Ee][Yy])"
                r"[\"'\\]{0,3}[ ]?[:=][ ]?[\"'\\]{0,3}"
                r"(?:[Bb]asic |[Tt]oken )?",
                r"[0-9A-Za-z._~+/\-]{16,}=*",
            ),
        ),
        "[token]",
        shape=r"[0-9A-Z]*[0-9][0-9A-Z]*",
        hints=(
            "earer ",
            "uthorization",
            "pi",
            "PI",
            "Pi",
            "pI",
        ),
    ),
    Recogniser(
        "url_password",
        "secret",
        "passwords in addresses, user:password@host",
        r"://(?:[\x00-\x08\x0b\x0c\x0e-\x1f!-.0-9;-?A-\x7f]|[^\x00-\x7f])*"
        r":(?:[\x00-\x08\x0b\x0c\x0e-\x1f!-.0-?A-\x7f]|[^\x00-\x7f])+@",
        (
            Form(
                r"[A-Za-z][0-9A-Za-z+.\-]{1,20}://[^\x00- \x7f/:@\"'<>\\]{0,64}:",
                r"[^\x00- \x7f/@\"'<>\\\[\]]{1,128}@",
            ),
        ),
        "[password]@",
        hints=("://",),
    ),
    Recogniser(
        "email",
        "contact",
        "e-mail addresses",
        r"(?:[0-9A-Za-z._%+\-]|[^\x00-\x7f])@(?:[0-9A-Za-z\-]|[^\x00-\x7f])",
        (
            Form(rf"(?:{ESCAPE})?[{_LOCAL}]+@[0-9]x\."),
            Form(rf"(?:{ESCAPE})?git@[0-9A-Za-z.\-]+:"),
            Form(rf"{ESCAPE}@"),
            Form(
                rf"(?:{ESCAPE})?",
                rf"[{_LOCAL}]{{1,64}}@[0-9A-Za-z{_LATIN}\-]+"
                rf"(?:\.[0-9A-Za-z{_LATIN}\-]+)*\.[A-Za-z{_LATIN}]{{2,24}}",
            ),
        ),
        "[email]",
        hints=("@",),
    ),
    Recogniser(
        "iban",
        "payment",
        "IBANs of every country in the registry, with check digits",
        rf"{BEFORE}[A-Z]{{2}}[0-9]{{2}}(?:[ \-]?[0-9A-Z]){{11}}",
        (Form(LEAD, rf"(?:{_IBAN})[0-9A-Za-z_]*"),),
        "[iban]",
        shape=r"[A-Z]{2}[0-9]{2}[0-9A-Z]{11,29}",
        check=Mod97(),
        digits=2,
    ),
    Recogniser(
        "card",
        "payment",
        "payment card numbers of the usual networks, with Luhn's digit",
        rf"{BEFORE}[2-6][0-9]{{3}}[ \-]?[0-9]{{4}}[ \-]?[0-9]{{1,4}}[ \-]?[0-9]{{2}}",
        (
            Form(
                LEAD,
                r"[2-6][0-9]{3}(?:(?:[ \-]?[0-9]{4}){2,3}[0-9]{0,3}"
                rf"|[ \-]?[0-9]{{6}}[ \-]?[0-9]{{4,5}}){TRAIL}",
            ),
        ),
        "[card]",
        shape=_CARDS,
        check=Luhn(),
        digits=12,
    ),
    *NATIONAL_IDS,
    Recogniser(
        "phone",
        "contact",
        "telephone numbers: international, the common national forms, and digits after the word",
        rf"\+[1-9](?:[ ./()\-]{{0,3}}[0-9]){{6}}|{BEFORE}\(?00?[1-9](?:[ ./()\-]{{0,4}}[0-9]){{6}}"
        r"|[2-9][0-9]{2}[). \-]{1,2}[2-9][0-9]{2}[. \-][0-9]{4}"
        rf"|{BEFORE}1[3-9][0-9][ \-]?[0-9]{{4}}[ \-]?[0-9]{{4}}|\([1-9][0-9]\) ?9?[0-9]{{4}}-"
        rf"|{word(*_PHONE_WORDS)}[^0-9]{{1,14}}[0-9](?:[ .()/\-]{{0,2}}[0-9]){{6}}",
        (
            Form(rf"(?:{ESCAPE}|[^0-9])[0-9]{{1,2}}[./\-][0-9]{{1,2}}[./\-][0-9]{{4}}"),
            Form(r"[0-9]:[0-9]{2}(?:\.[0-9]+)?"),
            Form(
                rf"(?:{ESCAPE}|[^0-9A-Za-z_+])",
                rf"\+{_COUNTRY_CODES}(?:[ ./()\-]{{0,3}}[0-9]){{6,13}}{_EXTENSION}\b",
            ),
            Form(
                rf"(?:{ESCAPE}|[^0-9A-Za-z_.+(/\-])",
                r"(?:(?:1[ .\-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.\-])"
                r"[2-9][0-9]{2}[ .\-][0-9]{4}"
                r"|00[1-9][0-9]{0,2}[ ./\-](?:[ ./()\-]{0,3}[0-9]){6,12}"
                r"|(?:\(0[1-9][0-9]{0,4}\)[ ./\-]{0,2}|0[1-9][0-9]{0,4}[ ./\-]{1,2})"
                r"[0-9]{2,8}(?:[ .\-][0-9]{2,6}){0,4}"
                r"|0[1-9][0-9]{8,9}"
                r"|\([1-9][0-9]\) ?9?[0-9]{4}-[0-9]{4}"
                rf"|1[3-9][0-9][ \-]?[0-9]{{4}}[ \-]?[0-9]{{4}}){_EXTENSION}\b",
            ),
            Form(
                named(*_PHONE_WORDS),
                r"[+(]?[0-9](?:[ .()/\-]{0,2}[0-9]){6,14}\b",
            ),
        ),
        "[phone]",
        shape=r"(?:00[1-9][0-9]{6,13}|0[1-9][0-9]{7,10}|1?[1-9][0-9]{6,13})(?:E?XT?[0-9]{1,5})?",
        digits=7,
    ),
    Recogniser(
        "ipv6",
        "network",
        "IPv6 addresses: in full, or short ones that are global, unique local or link-local",
        r"(?:[23][0-9A-Fa-f]{3}|[Ff][CcDdEe][0-9A-Fa-f]{2}):[0-9A-Fa-f:]{2}"
        r"|[0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{1,4}){4}",
        (Form(rf"(?:{ESCAPE}|[^0-9A-Za-z_.:\-])", rf"{_IPV6}[0-9A-Za-z_:]*"),),
        "[ip]",
        shape=_IPV6,
        raw=True,
        hints=(":",),
    ),
    Recogniser(
        "ipv4",
        "network",
        "IPv4 addresses except loopback; not after a word that makes them a version",
        rf"{BEFORE}[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]",
        (
            Form(
                r"(?:[Vv]ers(?:ion)?|[Rr]elease|[Bb]uild|[Ss]ection|[Cc]hapter|[A-Za-z]/|[=~<>]=|\^)"
                r"[ :.=v]{0,3}[0-9]+(?:\.[0-9]+)*"
            ),
            Form(LEAD, rf"{_IPV4}{TRAIL}"),
        ),
        "[ip]",
        shape=_IPV4,
        raw=True,
        digits=4,
    ),
)

# Recognisers without a check replace whatever they match, one after the other. All others read a
# text together: the leftmost match of any of them is what is looked at, so that a number is judged
# as a whole and by each of them once.
SIMPLE = tuple(one for one in RECOGNISERS if not one.is_checked)
CHECKED = tuple(one for one in RECOGNISERS if one.is_checked)
CANDIDATE_PAIRS = "|".join(one.pairs for one in CHECKED)
CANDIDATE = "|".join(one.plain for one in CHECKED)

BY_NAME: Mapping[str, Recogniser] = {one.name: one for one in RECOGNISERS}
GROUPS: Mapping[str, tuple[str, ...]] = {
    group: tuple(one.name for one in RECOGNISERS if one.group == group)
    for group in dict.fromkeys(one.group for one in RECOGNISERS)
}


def chosen(names: Iterable[str]) -> tuple[Recogniser, ...]:
    """The recognisers that names of recognisers, groups or `all` stand for, in working order."""
    wanted: set[str] = set()
    for name in names:
        wanted.update(BY_NAME if name == "all" else GROUPS.get(name, (name,)))
    return tuple(one for one in RECOGNISERS if one.name in wanted)
