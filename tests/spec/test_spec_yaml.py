"""The YAML loader: what it reads, where everything stands, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.spec.yaml import MAX_DEPTH, MAX_VALUES, dump, parse, read, spell


def one(text: str) -> Any:
    documents, problems = parse(text, "f.yaml")
    assert not problems, [str(problem) for problem in problems]
    assert len(documents) == 1
    return documents[0].data


def faults(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, "f.yaml")[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("12:30", "12:30"),
        ("1:30:00", "1:30:00"),
        ("2022-01-01", "2022-01-01"),
        ("2022-01-01 12:00:00", "2022-01-01 12:00:00"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("~", None),
        ("null", None),
        ("", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("5.12.0", "5.12.0"),
        ("1.2e", "1.2e"),
        ("=", "="),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = one(f"x: {text}\ny: 1")["x"]
    assert found == value
    assert type(found) is type(value)


def test_keys_that_yaml_1_1_reads_as_booleans_stay_text() -> None:
    assert one("{on: 1, no: 2, y: 3}") == {"on": 1, "no": 2, "y": 3}


def test_every_value_knows_its_line() -> None:
    text = "a:\n  b:\n    - c: 1\n      d: 2\n    - e\n---\n\nf: 3\n"
    (first, second), problems = parse(text, "f.yaml")
    assert not problems
    assert first.line == 1
    assert first.lines[("a",)] == 1
    assert first.lines[("a", "b")] == 2
    assert first.lines[("a", "b", 0, "d")] == 4
    assert first.lines[("a", "b", 1)] == 5
    assert first.line_at(("a", "b", 0, "nothing", "here")) == 3
    assert second.line_at(("f",)) == 8
    assert str(first.problem(("a", "b", 0, "d"), "is odd", "even it out")) == (
        "f.yaml:4: a.b[0].d: is odd (even it out)"
    )


def test_anchors_are_copies_that_know_where_they_are_used() -> None:
    text = "base: &b {k: 1}\nuse: *b\nmore:\n  <<: *b\n  k: 2\n  n: 3\nlist: {<<: [*b, {z: 9}]}\n"
    (document,), problems = parse(text, "f.yaml")
    assert not problems
    assert document.data["use"] == {"k": 1}
    assert document.data["more"] == {"k": 2, "n": 3}
    assert document.data["list"] == {"k": 1, "z": 9}
    assert document.line_at(("use",)) == 2
    assert document.line_at(("more", "k")) == 5
    document.data["use"]["k"] = 5
    assert document.data["base"] == {"k": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: a: the key 'a' is given twice (first on line 1; keep"),
        ("a:\n  b: 1\n  b: 1\n", "f.yaml:3: a.b: the key 'b' is given twice (first on line 2"),
        ("5: x\n", "f.yaml:1: a key must be text, not '5' (quote it)"),
        ("true: x\n", "f.yaml:1: a key must be text, not 'true' (quote it)"),
        ("? [a]\n: x\n", "f.yaml:1: a key must be text, not a list or mapping (quote it)"),
        ("a: .nan\n", "f.yaml:1: a: .nan is not a finite number (quote it if text is meant)"),
        ("a: -.inf\n", "f.yaml:1: a: -.inf is not a finite number"),
        ("a: 1e999\n", "f.yaml:1: a: 1e999 is not a finite number"),
        ("a: !secret x\n", "f.yaml:1: a: the tag '!secret' is not supported (remove it)"),
        ("a: !!set {b}\n", "f.yaml:1: a: the tag 'set' is not supported (remove it)"),
        ("a: !!int five\n", "f.yaml:1: a: 'five' is not a YAML int"),
        ("a: !!bool yes\n", "f.yaml:1: a: 'yes' is not a YAML bool"),
        ("a: *b\n", "f.yaml:1: the alias *b has no &b before it"),
        ("a: &a [*a]\n", "f.yaml:1: an anchor contains itself"),
        ("&a a: {<<: *a}\n", "f.yaml:1: a: what << merges must be a mapping"),
        ("a: &a {<<: *a}\n", "f.yaml:1: an anchor contains itself"),
        ("a: [1, 2\n", "f.yaml:2: not valid YAML: "),
        ("a:\n\tb: 1\n", "f.yaml:2: not valid YAML: "),
        ("a: \x00\n", "f.yaml: not valid YAML: "),
        ("a: " + "9" * 5000 + "\n", "f.yaml:1: a: '9"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text: str, message: str) -> None:
    found = faults(text)
    assert len(found) == 1, found
    assert found[0].startswith(message), found[0]


def test_tabs_are_named_as_what_they_are() -> None:
    assert faults("a:\n\tb: 1\n")[0].endswith("(indent with spaces, not tabs)")


def test_all_problems_of_a_file_are_found_at_once() -> None:
    text = "a: 1\na: 2\nb: !x y\n---\nc: .inf\n5: 6\n---\nd: [\n"
    assert [problem.line for problem in parse(text, "f.yaml")[1]] == [2, 3, 5, 6, 9]


def test_documents_before_a_fault_of_syntax_are_still_read() -> None:
    documents, problems = parse("a: 1\n---\nb: 2\n---\n{c: [}\n", "f.yaml")
    assert [document.data for document in documents] == [{"a": 1}, {"b": 2}]
    assert len(problems) == 1


def test_a_fault_behind_an_anchor_is_told_once() -> None:
    assert len(faults("a: &a {k: 1, k: 2}\nb: *a\nc: *a\n")) == 1


def test_an_alias_bomb_is_refused_before_it_unfolds() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for n in range(1, 30):
        bomb += f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n"
    found = faults(bomb)
    assert found == [f"f.yaml:1: unfolds to more than {MAX_VALUES:,} values (use fewer aliases)"]


def test_a_bomb_of_merges_is_refused_as_well() -> None:
    bomb = "a0: &a0 {k: x}\n"
    for n in range(1, 40):
        bomb += f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n"
    found = faults(bomb)
    assert len(found) == 1
    assert "unfolds to more than" in found[0] or "levels deep" in found[0]


@pytest.mark.parametrize("text", ["[" * 10_000, "{a: " * 10_000, "- " * 5_000 + "x"])
def test_deep_nesting_is_refused(text: str) -> None:
    assert f"nested more than {MAX_DEPTH} levels deep" in faults(text)[0]


def test_directories_are_read_recursively_in_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/b.yaml", ".git/x.yaml", "note.txt", "..data/y.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"name: {name}\n")
    documents, problems = read([tmp_path])
    assert not problems
    assert [document.data["name"] for document in documents] == ["a/b.yaml", "a/z.yml", "b.yaml"]


def test_files_that_cannot_be_read_are_problems_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nname: caf\xe9\n")
    (tmp_path / "big.yaml").write_bytes(b"#" * (5 * 1024 * 1024))
    (tmp_path / "bom.yaml").write_bytes("\ufeffa: 1\n".encode())
    (tmp_path / "empty").mkdir()
    documents, problems = read([tmp_path, tmp_path / "empty", tmp_path / "absent.yaml"])
    assert [document.data for document in documents] == [{"a": 1}]
    told = [str(problem).replace(str(tmp_path), "D") for problem in problems]
    assert told == [
        "D/big.yaml: larger than 4 MiB (split it into several files)",
        "D/latin.yaml:2: is not UTF-8 text (save it as UTF-8)",
        "D/empty: holds no *.yaml or *.yml file",
        "D/absent.yaml: no such file or directory",
    ]


def test_empty_documents_are_nothing() -> None:
    assert parse("---\n---\n# only a comment\n", "f.yaml") == ([], [])


def test_places_are_spelt_as_people_write_them() -> None:
    assert spell(("spec", "steps", 0, "after")) == "spec.steps[0].after"


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30)
    | st.sampled_from(["NO", "on", "1e3", "010", "0o7", "12:30", "<<", "~", "null", "2020-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.lists(VALUES.filter(lambda value: value is not None), min_size=1, max_size=3))
def test_what_is_dumped_reads_back_the_same(values: list[Any]) -> None:
    documents, problems = parse(dump(values), "f.yaml")
    assert not problems
    assert [document.data for document in documents] == values
    assert dump([document.data for document in documents]) == dump(values)
