"""One person's data and secrets in every form, made up or published as examples."""

from __future__ import annotations

# recogniser -> texts with a value, and the value that must not survive
FOUND: dict[str, tuple[tuple[str, str], ...]] = {
    "email": (
        ("Write to jane.doe+llm@example-shop.co.uk, please", "jane.doe+llm@example-shop.co.uk"),
        (r'{"content":"mail:\njane@example.com"}', "jane@example.com"),
        ("über müller@bücher.example", "müller@bücher.example"),
    ),
    "phone": (
        ("Call +1 (212) 555-0143 now", "+1 (212) 555-0143"),
        ("Call +442079460958.", "+442079460958"),
        ("(212) 555-0143 or 212-555-0143", "555-0143"),
        ("Rufen Sie 030 1234567 an", "030 1234567"),
        ("appelez le 06 12 34 56 78", "06 12 34 56 78"),
        ("ring 07700 900123", "07700 900123"),
        ("東京 03-1234-5678", "03-1234-5678"),
        ('{"phone_number": "5551234567"}', "5551234567"),
        ("ligue (11) 91234-5678", "91234-5678"),
    ),
    "card": (
        ("card 4111 1111 1111 1111 exp 12/27", "4111 1111 1111 1111"),
        ("5500005555555559,378282246310005", "5500005555555559"),
        ("amex 3782 822463 10005", "3782 822463 10005"),
        (r"number:\n4012888888881881\n", "4012888888881881"),
        ("pay with 4111-1111-1111-1111 123", "4111-1111-1111-1111"),
    ),
    "iban": (
        ("to DE89 3704 0044 0532 0130 00 AND mine", "3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432", "GB82WEST12345698765432"),
        ("NL91 ABNA 0417 1643 00.", "NL91 ABNA 0417 1643 00"),
    ),
    "ipv4": (("from 203.0.113.7:8080 and 10.20.30.40", "203.0.113.7"),),
    "ipv6": (
        ("at 2001:db8:85a3::8a2e:370:7334", "2001:db8:85a3::8a2e:370:7334"),
        ("fe80::1ff:fe23:4567:890a", "fe80::1ff:fe23:4567:890a"),
    ),
    "api_key": (
        ("OPENAI_API_KEY=sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12", "sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12"),
        ("sk-ant-api03-AbCdEfGhIjKlMnOpQrStUv", "sk-ant-api03-AbCdEfGhIjKlMnOpQrStUv"),
        ("aws AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        (
            'aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"',
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        ("xoxb-1234567890-abcdefghij", "xoxb-1234567890-abcdefghij"),
        ("key AIzaSyA1234567890abcdefghijklmnopqrstuv", "AIzaSyA1234567890abcdefghijklmnopqrstuv"),
    ),
    "jwt": (
        (
            "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_X",
            "dozjgNryP4J3jVmNHl0w5N",
        ),
    ),
    "private_key": (
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\nbye",
            "MIIEpAIBAAKCAQEA",
        ),
        ("-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg", "MIIEvQIBADANBg"),
    ),
    "auth_header": (
        ("Authorization: Bearer abcDEF123456ghiJKL7890", "abcDEF123456ghiJKL7890"),
        ("'x-api-key': '0123456789abcdef0123'", "0123456789abcdef0123"),
    ),
    "url_password": (("postgres://app:s3cr3t!@db.example/x", "s3cr3t!"),),
    "us_ssn": (
        ("SSN 536-90-4399", "536-90-4399"),
        ("my social security number is 536904399", "536904399"),
    ),
    "uk_nino": (("NI number AB 12 34 56 C", "AB 12 34 56 C"),),
    "de_tax_id": (("IdNr. 86 095 742 719", "86 095 742 719"), ("86095742719", "86095742719")),
    "fr_nir": (("NIR 2 55 08 14 168 025 38", "2 55 08 14 168 025 38"),),
    "es_dni": (("DNI 12345678Z", "12345678Z"), ("NIE X-1234567-L", "X-1234567-L")),
    "it_cf": (("CF RSSMRA85T10A562S", "RSSMRA85T10A562S"),),
    "nl_bsn": (("BSN: 111222333", "111222333"),),
    "pl_pesel": (("PESEL 44051401359", "44051401359"),),
    "br_cpf": (("CPF 529.982.247-25", "529.982.247-25"), ("cpf=52998224725", "52998224725")),
    "in_aadhaar": (("Aadhaar 2341 2341 2346", "2341 2341 2346"),),
    "ch_ahv": (("AHV 756.9217.0769.85", "756.9217.0769.85"),),
    "se_pnr": (("personnummer 811218-9876", "811218-9876"),),
    "be_nrn": (("rijksregister 85.07.30-033.28", "85.07.30-033.28"),),
}  # fmt: skip

# Texts in which nothing is anybody's.
CLEAN = (
    "order 4111111111111112 of 2026-11-21 10:20:30, 1700000000000000 ns",
    "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
    "id 550e8400-e29b-41d4-a716-446655440000 and 12345678-1234-4234-8234-123456789012",
    "version 1.2.3.4, Chrome/120.0.0.0, pkg==1.0.2.3, loopback 127.0.0.1:4318",
    "0.6871580989502273 3.14159265358979 1e-10 256 512 1024",
    "sha 9f88b1b26c5d12b0974b70f3d2d7019b9f88b1b26c5d12b0974b70f3d2d7019b",
    "chatcmpl-8a1c9d7e6f5a4b3c2d1e0f9a8b7c6d5e msg_01XFDUDYJgAACzvnptvVoYEL call_abc123",
    "git@github.com:org/repo.git @app.route decorator icon@2x.png foo@bar",
    "12:30:45 2001:30:45 std::vector<int> a::b",
    "price $1,234,567.89 or 10 000 000 people in 1995-2024",
    "the bearer of news, phone with 12 cores, task-based sk-learn",
    "03/10/2023 12:00 and 03-10-2023 and 2023.10.12",
    "https://user.example/path?x=1:2 see chapter 4.2.1.3",
)
