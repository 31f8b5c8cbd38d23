"""Attacks on the store's HTTP front: whatever reaches a file, a server or a program is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from store_front_build import READ_TOKEN, TOKEN, Front, front

from tocsin.store.served import Bounds
from tocsin.web.auth import AuthError
from tocsin.web.store_front import Doorkeeper

BOUNDS = Bounds(body_bytes=1 << 20, memory_bytes=200_000_000, seconds=2, result_bytes=10_000_000)
SECRET = "do-not-read-me"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    path = tmp_path_factory.mktemp("fence")
    (path / "secret.txt").write_text(SECRET)
    with front(path, tokens=True, bounds=BOUNDS) as made:
        made.engine.execute(
            "CREATE TABLE tocsin.t (a UInt32, b String) ENGINE = MergeTree ORDER BY a"
        )
        yield made


def send(
    served: Front, sql: str = "", *, token: str = TOKEN, body: bytes = b"", **options: str
) -> httpx.Response:
    headers = {"X-ClickHouse-Key": token}
    if sql and body:
        options["query"] = sql
    return httpx.post(
        served.url, params=options, content=body or sql.encode(), headers=headers, timeout=30
    )


def attacks(secret: Path) -> dict[str, str]:
    file, out = str(secret), str(secret.with_suffix(".out"))
    return {
        "table function": f"SELECT * FROM file('{file}', 'LineAsString')",
        "its other case": f"SELECT * FROM FILE('{file}', 'LineAsString')",
        "quoted": f"SELECT * FROM `file`('{file}', 'LineAsString')",
        "in a subquery": f"SELECT (SELECT any(line) FROM file('{file}', 'LineAsString'))",
        "in a CTE": f"WITH x AS (SELECT * FROM file('{file}', 'LineAsString')) SELECT * FROM x",
        "in a join": f"SELECT * FROM tocsin.t JOIN file('{file}', 'LineAsString') AS f ON 1",
        "in a union": f"SELECT 1 UNION ALL SELECT line FROM file('{file}', 'LineAsString')",
        "right of IN": f"SELECT 'x' IN (SELECT line FROM file('{file}', 'LineAsString'))",
        "behind a comment": f"SELECT /* FROM t */ * FROM /**/ file('{file}', 'LineAsString') --",
        "scalar function": f"SELECT file('{file}')",
        "scalar in a lambda": f"SELECT arrayMap(x -> file(x), ['{file}'])",
        "scalar by APPLY": f"SELECT * APPLY(file) FROM (SELECT '{file}' AS p)",
        "scalar in VALUES of a table function": f"SELECT * FROM values('a String', file('{file}'))",
        "files as tables": f"SELECT * FROM default.`{file}`",
        "files right of IN": f"SELECT '{SECRET}' IN default.`{file}`",
        "files not IN": f"SELECT '{SECRET}' GLOBAL NOT IN default.`{file}`",
        "view of a query": f"SELECT * FROM view(SELECT * FROM file('{file}', 'LineAsString'))",
        "merge of databases": "SELECT * FROM merge('default', '.*')",
        "url": "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "s3": "SELECT * FROM s3('http://127.0.0.1:1/a/b', 'LineAsString')",
        "remote": "SELECT * FROM remote('127.0.0.1:1', system.one)",
        "cluster": "SELECT * FROM cluster('default', system.one)",
        "mysql": "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "sqlite": f"SELECT * FROM sqlite('{file}', 't')",
        "executable": "SELECT * FROM executable('id', 'TSV', 'a String')",
        "python": "SELECT * FROM python('os')",
        "writes a file": f"SELECT 1 INTO OUTFILE '{out}'",
        "writes by insert": f"INSERT INTO FUNCTION file('{out}', 'CSV', 'a String') SELECT 'x'",
        "writes by url": "INSERT INTO FUNCTION url('http://127.0.0.1:1/', CSV, 'a UInt8') SELECT 1",
        "reads by insert": f"INSERT INTO tocsin.t FROM INFILE '{file}' FORMAT CSV",
        "reads by INSERT SELECT": f"INSERT INTO tocsin.t SELECT 1, file('{file}')",
        "function in a row": f"INSERT INTO tocsin.t VALUES (1, file('{file}'))",
        "query in a row": f"INSERT INTO tocsin.t VALUES (1, (SELECT file('{file}')))",
        "file engine": f"CREATE TABLE tocsin.x (a String) ENGINE = File(CSV, '{file}')",
        "url engine": "CREATE TABLE tocsin.x (a String) ENGINE = URL('http://127.0.0.1:1/', CSV)",
        "executable engine": "CREATE TABLE tocsin.x (a String) ENGINE = Executable('id', TSV)",
        "no engine": "CREATE TABLE tocsin.x (a String) ORDER BY a",
        "as a function": f"CREATE TABLE tocsin.x AS file('{file}', 'LineAsString')",
        "other database": "CREATE TABLE default.x (a UInt8) ENGINE = MergeTree ORDER BY a",
        "directory as database": "CREATE DATABASE d ENGINE = Filesystem('/')",
        "a disk anywhere": "CREATE TABLE tocsin.x (a UInt8) ENGINE = MergeTree ORDER BY a"
        f" SETTINGS disk = disk(type = local, path = '{secret.parent}/')",
        "default that reads": "CREATE TABLE tocsin.x (a UInt8, b String DEFAULT"
        f" file('{file}')) ENGINE = MergeTree ORDER BY a",
        "added default": f"ALTER TABLE tocsin.t ADD COLUMN c String DEFAULT file('{file}')",
        "expiry that reads": "ALTER TABLE tocsin.t MODIFY TTL"
        f" toDate(a) + toIntervalDay(length(file('{file}')))",
        "attached": f"ATTACH TABLE tocsin.x FROM '{secret.parent}' (a UInt8) ENGINE = MergeTree"
        " ORDER BY a",
        "view that reads": "CREATE MATERIALIZED VIEW tocsin.v TO tocsin.t AS"
        f" SELECT a, file('{file}') AS b FROM tocsin.t",
        "view with rows": "CREATE MATERIALIZED VIEW tocsin.v ENGINE = MergeTree ORDER BY a POPULATE"
        " AS SELECT * FROM tocsin.t",
        "plain view": f"CREATE VIEW tocsin.v AS SELECT file('{file}')",
        "dictionary of a file": "CREATE DICTIONARY tocsin.d (a String) PRIMARY KEY a"
        f" SOURCE(FILE(path '{file}' format 'CSV')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
        "dictionary of a program": "CREATE DICTIONARY tocsin.d (a String) PRIMARY KEY a"
        " SOURCE(EXECUTABLE(command 'id' format 'TSV')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
        "dictionary of a server": "CREATE DICTIONARY tocsin.d (a String) PRIMARY KEY a"
        " SOURCE(CLICKHOUSE(host '127.0.0.1' query 'SELECT 1')) LAYOUT(COMPLEX_KEY_HASHED())"
        " LIFETIME(0)",
        "dictionary of a query": "CREATE DICTIONARY tocsin.d (a String) PRIMARY KEY a"
        f" SOURCE(CLICKHOUSE(QUERY 'SELECT file(''{file}'')')) LAYOUT(COMPLEX_KEY_HASHED())"
        " LIFETIME(0)",
        "replacing a table": "CREATE OR REPLACE TABLE tocsin.t (a UInt8) ENGINE = MergeTree"
        " ORDER BY a",
        "named function": f"CREATE FUNCTION f AS x -> file('{file}')",
        "backup": f"BACKUP TABLE tocsin.t TO File('{out}')",
        "restore": f"RESTORE TABLE tocsin.t FROM File('{out}')",
        "freeze": "ALTER TABLE tocsin.t FREEZE",
        "fetch": "ALTER TABLE tocsin.t FETCH PARTITION 1 FROM '/x'",
        "attach a partition": "ALTER TABLE tocsin.t ATTACH PARTITION 1",
        "drop the database": "DROP DATABASE tocsin",
        "detach": "DETACH TABLE tocsin.t PERMANENTLY",
        "system": "SYSTEM SHUTDOWN",
        "flush": "SYSTEM RELOAD CONFIG",
        "set": "SET max_memory_usage = 0",
        "use": "USE default",
        "user": "CREATE USER bob",
        "as a user": "EXECUTE AS bob SELECT 1",
        "schema in the statement": f"SELECT 1 SETTINGS format_schema = '{file}:X'",
        "template": f"SELECT 1 SETTINGS format_template_row = '{file}' FORMAT Template",
        "other dialect": "SELECT 1 SETTINGS dialect = 'prql'",
        "unlimited": "SELECT 1 SETTINGS readonly = 0",
        "two statements": f"SELECT 1; SELECT file('{file}')",
        "explained": f"EXPLAIN PLAN SELECT * FROM file('{file}', 'LineAsString')",
        "described": f"DESCRIBE TABLE file('{file}', 'LineAsString')",
        "described subquery": f"DESCRIBE TABLE (SELECT file('{file}'))",
        "named by a parameter": "SELECT * FROM {x:Identifier}",
        "settings of the server": "SELECT * FROM system.server_settings",
        "its environment": "SELECT * FROM system.stack_trace",
        "dictionary elsewhere": "SELECT dictGet('default.d', 'a', 1)",
        "dictionary by a value": "SELECT dictGet(b, 'a', 1) FROM tocsin.t",
        "network by a function": "SELECT reverseDNSQuery('127.0.0.1')",
        "secrets by a function": "SELECT getServerSetting('max_connections')",
        "a model somewhere": "SELECT aiGenerate('hello')",
        "sleeping": "SELECT sleep(3)",
        "names with quotes": f"SELECT 1 AS `a`, `b'` FROM file('{file}', 'CSV') AS `x\\``",
        "on a cluster": "DROP TABLE tocsin.t ON CLUSTER c",
        "arbitrary plan": "SELECT * FROM loop(system.one)",
    }  # fmt: skip


def test_nothing_outside_the_store_can_be_reached(served: Front, tmp_path_factory: object) -> None:
    secret = Path(served.served._path).parent / "secret.txt"
    let_through = {}
    for name, sql in attacks(secret).items():
        for token in (TOKEN, READ_TOKEN):
            answer = send(served, sql, token=token, param_x=f"default.`{secret}`")
            if answer.status_code == 200 or SECRET in answer.text:
                let_through[name] = answer.text[:200]
    assert not let_through
    assert not list(secret.parent.glob("*.out"))
    assert served.engine.rows("SELECT count() FROM tocsin.t") == [(0,)]
    assert served.engine.rows("SHOW TABLES FROM tocsin") == [("t",)]


@pytest.mark.parametrize("token", [TOKEN, READ_TOKEN], ids=["write", "read"])
def test_refusals_say_what_is_not_let_through(served: Front, token: str) -> None:
    answer = send(served, "SELECT * FROM url('http://x/', 'CSV')", token=token)
    assert answer.status_code == 403
    assert answer.headers["X-ClickHouse-Exception-Code"] == "497"
    assert "the table function url is not let through" in answer.text


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO tocsin.t VALUES (1, 'a')",
        "INSERT INTO tocsin.t SELECT 1, 'a'",
        "ALTER TABLE tocsin.t ADD COLUMN c UInt8",
        "DELETE FROM tocsin.t WHERE 1",
        "TRUNCATE TABLE tocsin.t",
        "DROP TABLE tocsin.t",
        "CREATE TABLE tocsin.x (a UInt8) ENGINE = MergeTree ORDER BY a",
        "OPTIMIZE TABLE tocsin.t FINAL",
        "SYSTEM RELOAD DICTIONARY tocsin.price_book",
        "KILL QUERY WHERE 1",
        "SELECT query FROM system.processes",
    ],
)
def test_whoever_may_look_changes_nothing(served: Front, sql: str) -> None:
    answer = send(served, sql, token=READ_TOKEN)
    assert answer.status_code == 403
    assert answer.headers["X-ClickHouse-Exception-Code"] == "497"
    assert send(served, "SELECT count() FROM tocsin.t", token=READ_TOKEN).text == "0\n"


def test_a_token_is_needed_and_must_be_right(served: Front) -> None:
    for headers in ({}, {"X-ClickHouse-Key": "wrong"}, {"Authorization": "Basic !!"},
                    {"Authorization": f"Bearer {TOKEN}x"}):  # fmt: skip
        answer = httpx.post(served.url, content=b"SELECT 1", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["X-ClickHouse-Exception-Code"] == "516"
    assert httpx.post(served.url, content=b"SELECT 1", auth=("any", TOKEN)).text == "1\n"
    bearer = {"Authorization": f"Bearer {READ_TOKEN}"}
    assert httpx.post(served.url, content=b"SELECT 1", headers=bearer).text == "1\n"
    assert "token" not in httpx.get(f"{served.url}/ping").text
    in_url = httpx.post(served.url, params={"user": "a", "password": TOKEN}, content=b"SELECT 1",
                        headers={"X-ClickHouse-Key": TOKEN})  # fmt: skip
    assert in_url.status_code == 403


def test_pages_in_a_browser_are_refused_even_with_a_token(served: Front) -> None:
    for extra in ({"Origin": "http://evil.example"}, {"Origin": "null"},
                  {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):  # fmt: skip
        answer = httpx.post(
            served.url, content=b"SELECT 1", headers={"X-ClickHouse-Key": TOKEN, **extra}
        )
        assert answer.status_code == 403, extra


def test_a_get_changes_nothing(served: Front) -> None:
    answer = httpx.get(
        served.url, params={"query": "DROP TABLE tocsin.t"}, headers={"X-ClickHouse-Key": TOKEN}
    )
    assert answer.status_code == 403


def test_an_address_beyond_this_machine_needs_a_token() -> None:
    with pytest.raises(AuthError, match="TOCSIN_STORE_TOKEN"):
        Doorkeeper.for_bind("0.0.0.0", None, None)
    with pytest.raises(AuthError, match="16"):
        Doorkeeper.for_bind("127.0.0.1", "short", None)
    assert Doorkeeper.for_bind("0.0.0.0", None, READ_TOKEN).any_host
    assert TOKEN not in repr(Doorkeeper.for_bind("127.0.0.1", TOKEN, READ_TOKEN))


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT count() FROM numbers(100000000000) WHERE NOT ignore(rand())", 159),
        ("SELECT groupArray(number) FROM numbers(100000000)", 241),
        ("SELECT * FROM numbers(10000000)", 396),
        ("SELECT count() FROM numbers(100000000000) WHERE NOT ignore(rand())"
         " SETTINGS max_execution_time = 1000", 159),
        ("SELECT count() FROM numbers(100000000000) WHERE NOT ignore(rand())"
         " SETTINGS max_execution_time = 0", 159),
    ],
    ids=["time", "memory", "result", "time asked for", "time unbounded"],
)  # fmt: skip
def test_a_statement_takes_no_more_than_it_may(served: Front, sql: str, code: int) -> None:
    answer = send(served, sql, max_execution_time="1000000", max_result_bytes="0")
    assert answer.headers["X-ClickHouse-Exception-Code"] == str(code)


def test_settings_of_one_request_do_not_stay_for_the_next(served: Front) -> None:
    value = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    before = send(served, value).text
    assert send(served, value, max_threads="1").text == "1\n"
    assert {send(served, value).text for _ in range(8)} == {before}


def test_a_body_is_bounded_packed_and_unpacked(served: Front) -> None:
    into = "INSERT INTO tocsin.t FORMAT TSV"
    big = b"1\ta\n" * 400_000
    assert send(served, into, body=big).status_code == 413
    headers = {"X-ClickHouse-Key": TOKEN, "Content-Encoding": "gzip"}
    bomb = httpx.post(
        served.url, params={"query": into}, content=gzip.compress(big), headers=headers
    )
    assert bomb.status_code == 413
    assert send(served, "SELECT count() FROM tocsin.t").text == "0\n"


@pytest.mark.parametrize(
    "options",
    [
        {"session_id": "x"},
        {"database": "system"},
        {"allow_ddl": "1"},
        {"format_schema": "/etc/x:Y"},
    ],
)
def test_options_that_are_not_served_are_refused(served: Front, options: dict[str, str]) -> None:
    answer = send(served, "SELECT 1", **options)
    assert answer.status_code in {403, 404, 500}
    assert "X-ClickHouse-Exception-Code" in answer.headers


@pytest.mark.parametrize(
    "schema",
    ['syntax = "proto3"; import "/etc/passwd"; message M { uint32 a = 1; }', "/etc/passwd",
     'syntax = "proto3"; im/**/port "secret.txt"; message M { uint32 a = 1; }'],
)  # fmt: skip
def test_a_protobuf_schema_reads_no_file(served: Front, schema: str) -> None:
    answer = send(
        served, "INSERT INTO tocsin.t FORMAT Protobuf", body=b"\x02\x08\x01",
        format_schema_source="string", format_schema=schema, format_schema_message_name="M",
    )  # fmt: skip
    assert answer.status_code != 200
    assert SECRET not in answer.text
    assert "root:" not in answer.text


def test_an_external_table_is_what_came_with_the_request(served: Front) -> None:
    secret = Path(served.served._path).parent / "secret.txt"

    def ask(name: str, sql: str, structure: str = "a UInt32") -> httpx.Response:
        return httpx.post(
            served.url,
            params={f"{name}_format": "TSV", f"{name}_structure": structure, "query": sql},
            files={name: (name, b"1\n2\n")},
            headers={"X-ClickHouse-Key": READ_TOKEN},
        )

    assert ask("ext", "SELECT sum(a), (SELECT count() FROM ext) FROM ext").text == "3\t2\n"
    assert ask("a.b", "SELECT 1").status_code == 403
    assert ask("ext", f"SELECT * FROM file('{secret}', 'LineAsString')").status_code == 403
    assert SECRET not in ask("ext", "SELECT * FROM ext", f"x String DEFAULT file('{secret}')").text


def test_bodies_are_gone_after_a_request_whatever_became_of_it(served: Front) -> None:
    send(served, "INSERT INTO tocsin.t FORMAT TSV", body=b"1\ta\n")
    send(served, "INSERT INTO tocsin.t FORMAT TSV", body=b"rubbish")
    send(served, "INSERT INTO tocsin.nowhere FORMAT TSV", body=b"1\ta\n")
    assert [path for path in served.served.files.iterdir() if path.suffix != ".proto"] == []
    send(served, "TRUNCATE TABLE tocsin.t")


def test_errors_carry_the_code_of_the_engine_and_no_path_of_this_machine(served: Front) -> None:
    for sql, code, status in (
        ("SELECT nonsense", 47, 500),
        ("SELECT * FROM tocsin.nowhere", 60, 404),
        ("SELEC 1", 62, 500),
        ("", 62, 500),
    ):
        answer = send(served, sql) if sql else httpx.post(
            served.url, headers={"X-ClickHouse-Key": TOKEN}
        )  # fmt: skip
        assert (answer.headers["X-ClickHouse-Exception-Code"], answer.status_code) == (
            str(code),
            status,
        )
    wrong = send(served, "INSERT INTO tocsin.t FORMAT TSV", body=b"rubbish")
    assert str(served.served.files) not in wrong.text


def test_answers_look_like_those_of_a_server(served: Front) -> None:
    answer = send(served, "SELECT 1 AS a FORMAT JSON", query_id="mine")
    assert json.loads(answer.text)["data"] == [{"a": 1}]
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "1"
