"""What somebody outside this process may ask of the embedded engine: a list, not a filter.

The embedded engine can read and write any file this process can, fetch URLs and run programs, and
it has no users. So a statement from outside is parsed by the engine itself (`parseQueryToJSON`),
the tree is looked at here, and what runs is printed from that very tree. Whatever is not on a list
below is refused: statements, nodes, fields of nodes, functions, table functions, engines,
databases, formats, settings. A new feature of the engine is therefore refused until somebody lists
it. `tests/store/test_store_fence.py` attacks it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tocsin.domain.errors import StoreError
from tocsin.store.layout import DATABASE

Tree = dict[str, Any]


class Scope(StrEnum):
    """What a caller may do: look, or do everything that a Tocsin process does to its store."""

    READ = "read"
    WRITE = "write"


class Forbidden(StoreError):
    """A statement that is not let through. The text says which part of it."""


_LOOKING = {"SelectWithUnionQuery", "SelectIntersectExceptQuery", "ExplainQuery"}
_CHANGING = {
    "InsertQuery", "CreateQuery", "AlterQuery", "DeleteQuery", "DropQuery", "OptimizeQuery",
    "SystemQuery", "KillQueryQuery",
}  # fmt: skip
_NODES = _LOOKING | {
    "SelectQuery", "ExpressionList", "TablesInSelectQuery", "TablesInSelectQueryElement",
    "TableExpression", "TableIdentifier", "TableJoin", "ArrayJoin", "Subquery", "Function",
    "Identifier", "Literal", "Asterisk", "QualifiedAsterisk", "QueryParameter", "OrderByElement",
    "WithElement", "WindowDefinition", "SetQuery", "ColumnsTransformerList",
    "ColumnsExceptTransformer", "ColumnsReplaceTransformer",
    "ColumnsReplaceTransformerReplacement",
}  # fmt: skip
_CHANGING_NODES = _CHANGING | {
    "Columns definition", "ColumnDeclaration", "DataType", "IndexDeclaration", "Storage",
    "TTLElement", "ViewTargets", "AlterCommand", "Partition", "Dictionary",
    "DictionaryAttributeDeclaration", "DictionaryLayout", "DictionaryLifetime", "DictionaryRange",
    "FunctionWithKeyValueArguments", "Pair",
}  # fmt: skip
# Never in any node, whatever it is: files, other servers, paths of the disk.
_NOWHERE = (
    "out_file", "infile", "cluster", "attach_from_path", "as_table_function", "compression",
    "from", "func_name", "refresh_strategy", "sql_security", "comment_ast", "as_database_ast",
)  # fmt: skip
_NOT_TRUE = (
    "is_outfile_append", "is_outfile_truncate", "is_into_outfile_with_stdout", "attach",
    "has_uuid", "has_uuid_clause", "has_inner_uuid_clause", "has_attach_from_path", "replace_table",
    "create_or_replace", "replace_view", "is_time_series_table", "is_clone_as", "has_all",
    "has_tables", "permanently", "detach", "is_populate",
)  # fmt: skip
_REPLACES = {"create_or_replace", "replace_table"}  # said of dictionaries as well
_TABLE_FUNCTIONS = {"numbers", "zeros", "null", "values", "VALUES", "input"}
_ENGINES = {"MergeTree", "AggregatingMergeTree", "ReplacingMergeTree", "Atomic"}
_CODECS = {"CODEC", "ZSTD", "LZ4", "Delta", "DoubleDelta", "Gorilla", "T64"}
_INDEXES = {"minmax", "bloom_filter", "set"}
_ALTERS = {
    "ADD_COLUMN", "ADD_INDEX", "DROP_COLUMN", "MODIFY_COLUMN", "COMMENT_COLUMN", "MODIFY_TTL",
    "REMOVE_TTL", "MATERIALIZE_TTL", "MODIFY_QUERY", "MODIFY_ORDER_BY", "DROP_PARTITION",
    "MODIFY_COMMENT",
}  # fmt: skip
_TABLE_SETTINGS = {
    "ttl_only_drop_parts", "index_granularity", "min_compress_block_size",
    "replicated_deduplication_window",
}  # fmt: skip
_SYSTEM_TABLES = {
    "one", "numbers", "settings", "functions", "tables", "columns", "parts", "databases",
    "clusters", "mutations", "merges", "processes", "macros", "data_skipping_indices",
    "settings_changes", "contributors",
}  # fmt: skip
_WRITERS_ONLY = {"processes", "mutations"}  # they show what others ask
OUTPUT_FORMATS = frozenset({
    "Native", "JSON", "JSONCompact", "JSONEachRow", "JSONStrings", "TabSeparated", "TSV",
    "TabSeparatedWithNames", "TSVWithNames", "TabSeparatedWithNamesAndTypes", "CSV",
    "CSVWithNames", "Arrow", "ArrowStream", "Parquet", "RowBinary",
    "RowBinaryWithNamesAndTypes", "Null", "Pretty", "PrettyCompact", "Vertical", "TSKV", "Values",
})  # fmt: skip
INPUT_FORMATS = frozenset({
    "Native", "JSONEachRow", "TabSeparated", "TSV", "TabSeparatedWithNames", "CSV", "CSVWithNames",
    "Arrow", "ArrowStream", "Parquet", "RowBinary", "RowBinaryWithNamesAndTypes", "Protobuf",
    "Values",
})  # fmt: skip
# Settings a caller may give: how to plan, how to read a format. None names a file or a server.
SETTINGS = frozenset({
    "max_threads", "max_block_size", "max_partitions_per_insert_block", "max_insert_threads",
    "optimize_read_in_order",
    "query_plan_merge_expressions", "short_circuit_function_evaluation",
    "optimize_and_compare_chain", "use_query_condition_cache", "optimize_move_to_prewhere",
    "join_algorithm", "join_use_nulls", "group_by_use_nulls", "final", "extremes",
    "input_format_max_block_size_bytes", "input_format_protobuf_oneof_presence",
    "input_format_skip_unknown_fields", "input_format_null_as_default",
    "input_format_defaults_for_omitted_fields", "input_format_allow_errors_num",
    "date_time_input_format", "date_time_output_format", "output_format_arrow_string_as_string",
    "output_format_arrow_low_cardinality_as_dictionary", "output_format_json_quote_64bit_integers",
    "output_format_native_encode_types_in_binary_format", "output_format_json_quote_denormals",
    "input_format_native_decode_types_in_binary_format", "allow_experimental_json_type",
    "output_format_arrow_fixed_string_as_fixed_byte_array", "log_comment", "log_queries",
    "insert_deduplicate", "insert_deduplication_token", "distributed_foreground_insert",
    "mutations_sync", "alter_sync", "lightweight_deletes_sync", "session_timezone",
    "cancel_http_readonly_queries_on_client_close", "async_insert", "wait_for_async_insert",
    "materialize_ttl_after_modify", "cast_string_to_dynamic_use_inference",
    "output_format_native_use_flattened_dynamic_and_json_serialization",
})  # fmt: skip
# Settings that bound what a statement may take; a caller may only lower them.
LIMITS = frozenset({
    "max_execution_time", "max_memory_usage", "max_result_rows", "max_result_bytes",
    "max_rows_to_read", "max_bytes_to_read",
})  # fmt: skip

_CATEGORIES = {
    "Aggregate Functions", "Arithmetic", "Arrays", "Bit", "Bitmap", "Comparison", "Conditional",
    "Dates and Times", "Distance", "Encoding", "Hash", "IP Address", "JSON", "Logical", "Map",
    "Mathematical", "Null", "Random Number", "Rounding", "String", "String Replacement",
    "String Search", "String Splitting", "Time Window", "Tuple", "Type Conversion", "URL", "UUID",
}  # fmt: skip
_ALSO = {
    "transform", "ignore", "version", "timezone", "serverTimezone", "toTypeName", "materialize",
    "identity", "formatQuery", "formatQuerySingleLine", "currentDatabase", "throwIf", "lambda",
    "lowCardinalityKeys", "finalizeAggregation", "isConstant", "row_number", "rank", "dense_rank",
    "lagInFrame", "leadInFrame", "first_value", "last_value", "tuple", "array", "exists",
    "formatReadableSize", "formatReadableQuantity", "byteSize",
}  # fmt: skip
_UNLISTED = {"sumMap"}  # an aggregate with the combinator Map, which the engine does not list
_NEVER = {"formatRow", "formatRowNoNewline", "reverseDNSQuery", "generateSerialID", "aggThrow"}
_COMBINATORS = (
    "SimpleState", "MergeState", "State", "Merge", "If", "Array", "Map", "ForEach", "Distinct",
    "OrDefault", "OrNull", "Resample", "ArgMin", "ArgMax",
)  # fmt: skip
_MEMBERSHIP = {"in", "nullin", "inignoreset", "nullinignoreset"}
_LOOKUPS = ("dictGet", "dictHas")


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions that only compute, as this engine has them.

    exact: names as they are written; folded: lower-case names of those whose case does not matter.
    aggregates: those that combinators may follow.
    """

    exact: frozenset[str]
    folded: frozenset[str]
    aggregates: frozenset[str]

    @classmethod
    def of(cls, rows: Collection[tuple[str, str, str, bool, bool]]) -> Functions:
        """rows: name, alias_to, categories, is_aggregate, case_insensitive (system.functions)."""
        category = {row[0]: row[2] for row in rows}
        allowed = [
            row
            for row in rows
            if row[0] not in _NEVER
            and row[1] not in _NEVER
            and (
                row[3]
                or row[0] in _ALSO
                or row[1] in _ALSO
                or _computes(row[2] or category.get(row[1], ""))
                or row[0].startswith(_LOOKUPS)
            )
        ]
        return cls(
            frozenset({row[0] for row in allowed} | _ALSO | _UNLISTED),
            frozenset(row[0].lower() for row in allowed if row[4]),
            frozenset({row[0] for row in allowed if row[3]} | _UNLISTED),
        )

    def __contains__(self, name: str) -> bool:
        if name in self.exact or name.lower() in self.folded:
            return True
        for combinator in _COMBINATORS:
            stem = name.removesuffix(combinator)
            if stem != name and (stem in self.aggregates or stem in self):
                return True
        return False


def _computes(categories: str) -> bool:
    found = {part.strip() for part in categories.split(",") if part.strip()}
    return bool(found) and found <= _CATEGORIES


def kind_of(tree: Tree) -> str:
    """The type of a statement."""
    return str(tree.get("type"))


def check(tree: Tree, scope: Scope, functions: Functions, parse: Callable[[str], Tree]) -> None:
    """Forbidden unless every part of a statement is on a list.

    parse: how a query that a dictionary keeps as text is read.
    """
    kind = kind_of(tree)
    if kind in _CHANGING and scope is Scope.READ:
        raise Forbidden(f"this token may only read; {kind.removesuffix('Query')} changes something")
    if kind not in _LOOKING | _CHANGING:
        raise Forbidden(f"statements of kind {kind} are not let through")
    _Inspection(scope, functions, parse).statement(tree)


@dataclass(frozen=True, slots=True)
class _Inspection:
    """One walk through one tree."""

    scope: Scope
    functions: Functions
    parse: Callable[[str], Tree]

    def statement(self, tree: Tree) -> None:
        kind = kind_of(tree)
        special = {
            "InsertQuery": self._insert, "CreateQuery": self._create, "AlterQuery": self._own,
            "DropQuery": self._drop, "DeleteQuery": self._own, "OptimizeQuery": self._own,
            "SystemQuery": self._system, "KillQueryQuery": self._kill,
        }.get(kind)  # fmt: skip
        if special:
            special(tree)
        self._walk(tree)

    def _walk(self, node: Any, field: str = "") -> None:
        if isinstance(node, list):
            for child in node:
                self._walk(child, field)
        elif isinstance(node, dict):
            self._node(node, field)
            for name, child in node.items():
                if not (name == "value" and node.get("type") == "Literal"):
                    self._walk(child, name)

    def _node(self, node: Tree, field: str) -> None:
        for name in _NOWHERE:
            if node.get(name):
                raise Forbidden(f"`{name}` is not let through")
        for name in _NOT_TRUE:
            if node.get(name) is True and not (name in _REPLACES and node.get("is_dictionary")):
                raise Forbidden(f"`{name}` is not let through")
        kind = node.get("type")
        if kind is None:
            return
        known = _NODES | (_CHANGING_NODES if self.scope is Scope.WRITE else set())
        if kind not in known:
            raise Forbidden(f"{kind} is not let through")
        look = {
            "Function": lambda: self._function(node, field),
            "TableExpression": lambda: self._table_function(node),
            "TableIdentifier": lambda: self._table(node),
            "QueryParameter": lambda: self._parameter(node),
            "SetQuery": lambda: self._settings(node, field),
            "AlterCommand": lambda: self._alter(node),
            "FunctionWithKeyValueArguments": lambda: self._source(node),
        }.get(str(kind))
        if look:
            look()

    def _function(self, node: Tree, field: str) -> None:
        name = str(node.get("name"))
        listed = {"engine": _ENGINES, "index_type": _INDEXES}.get(field)
        if node.get("kind") == "CODEC" or name in _CODECS:
            listed = _CODECS
        if listed is not None:
            if name not in listed:
                raise Forbidden(f"{field or 'codec'} {name} is not let through")
            return
        if field == "table_function":
            return  # looked at where it stands
        if name not in self.functions:
            raise Forbidden(f"the function {name} is not let through")
        arguments = (node.get("arguments") or {}).get("children", [])
        if name.startswith(_LOOKUPS):
            self._lookup(name, arguments)
        if name.lower().removeprefix("global").removeprefix("not") in _MEMBERSHIP:
            for argument in arguments[1:]:  # `x IN a.b` reads a table
                if argument.get("type") == "Identifier" and len(argument.get("name_parts", ())) > 1:
                    self._named(argument["name_parts"])

    def _lookup(self, name: str, arguments: list[Tree]) -> None:
        first = arguments[0] if arguments else {}
        told = first.get("value", {}).get("value") if first.get("type") == "Literal" else None
        if not isinstance(told, str) or not told.startswith(f"{DATABASE}."):
            raise Forbidden(f"{name} may only ask dictionaries of {DATABASE}, named by a literal")

    def _table_function(self, node: Tree) -> None:
        function = node.get("table_function")
        if function and function.get("name") not in _TABLE_FUNCTIONS:
            raise Forbidden(f"the table function {function.get('name')} is not let through")

    def _table(self, node: Tree) -> None:
        if any(child.get("type") == "QueryParameter" for child in node.get("children", ())):
            raise Forbidden("a table named by a parameter is not let through")
        self._named(node.get("name_parts") or [node.get("name", "")])

    def _named(self, parts: list[str]) -> None:
        if len(parts) < 2:
            return  # a table of `tocsin`, which every session is in, or a name of the statement
        database, table = parts[0], parts[1]
        if database == DATABASE:
            return
        hidden = self.scope is Scope.READ and table in _WRITERS_ONLY
        if database != "system" or table not in _SYSTEM_TABLES or hidden:
            raise Forbidden(f"the table {database}.{table} is not let through")

    def _parameter(self, node: Tree) -> None:
        if node.get("param_type") == "Identifier":
            raise Forbidden("a name given by a parameter is not let through")

    def _settings(self, node: Tree, field: str) -> None:
        in_table = field == "settings" and not node.get("is_standalone")
        for change in node.get("changes", ()):
            name = change.get("name")
            if name not in SETTINGS | LIMITS and not (in_table and name in _TABLE_SETTINGS):
                raise Forbidden(f"the setting {name} is not let through")
            if (change.get("value") or {}).get("field_type") not in {
                "UInt64", "Int64", "String", "Float64", "Bool",
            }:  # fmt: skip
                raise Forbidden(f"the value of the setting {name} is not let through")
        if set(node) - {"type", "is_standalone", "changes"}:
            raise Forbidden("settings of this form are not let through")

    def _alter(self, node: Tree) -> None:
        if node.get("command_type") not in _ALTERS:
            raise Forbidden(f"ALTER … {node.get('command_type')} is not let through")

    def _own(self, node: Tree) -> None:
        if _database_of(node) not in {"", DATABASE}:
            raise Forbidden(f"only tables of {DATABASE} may be changed")

    def _insert(self, node: Tree) -> None:
        function = node.get("table_function")
        if function is not None and function.get("name") != "null":
            raise Forbidden(f"inserting into {function.get('name')}(…) is not let through")
        unknown = set(node) - {
            "type", "database", "table", "format", "columns", "select", "settings_ast",
            "table_function", "format_ast",
        }  # fmt: skip
        if unknown:
            raise Forbidden(f"INSERT with {', '.join(sorted(unknown))} is not let through")
        self._own(node)

    def _drop(self, node: Tree) -> None:
        self._own(node)
        if not node.get("table") or node.get("kind") not in {"Drop", "Truncate"}:
            raise Forbidden("only tables and views may be dropped or truncated")

    def _system(self, node: Tree) -> None:
        if node.get("query_type") != "RELOAD_DICTIONARY":
            raise Forbidden(f"SYSTEM {node.get('query_type')} is not let through")
        self._own(node)

    def _kill(self, node: Tree) -> None:
        if node.get("kill_type") != "Query":
            raise Forbidden("only queries may be ended")

    def _create(self, node: Tree) -> None:
        unknown = {name for name, value in node.items() if value} - {
            "type", "database", "table", "database_ast", "table_ast", "if_not_exists",
            "columns_list", "storage", "select", "targets", "is_materialized_view",
            "is_dictionary", "dictionary", "dictionary_attributes_list", "create_or_replace",
            "replace_table",
        }  # fmt: skip
        if unknown:
            raise Forbidden(f"CREATE with {', '.join(sorted(unknown))} is not let through")
        self._own(node)
        storage = node.get("storage") or {}
        is_table = not (node.get("is_materialized_view") or node.get("is_dictionary"))
        if is_table and not storage.get("engine"):
            raise Forbidden("CREATE without an engine is not let through")
        if node.get("is_materialized_view") and not node.get("targets"):
            raise Forbidden("a materialized view needs a target table (TO …)")
        for target in (node.get("targets") or {}).get("targets", ()):
            if target.get("kind") != "To" or target.get("table_database") not in {"", DATABASE}:
                raise Forbidden(f"a view may only write to tables of {DATABASE}")

    def _source(self, node: Tree) -> None:
        """Where a dictionary reads: only a query of this very engine, inspected as any other."""
        pairs = (node.get("elements") or {}).get("children", [])
        told = {pair.get("first"): pair.get("second") for pair in pairs}
        query = told.get("query") or {}
        text = (query.get("value") or {}).get("value")
        if node.get("name") != "clickhouse" or set(told) != {"query"} or not isinstance(text, str):
            raise Forbidden("a dictionary may only read a query of this store")
        check(self.parse(text), Scope.READ, self.functions, self.parse)


def _database_of(node: Tree) -> str:
    named = node.get("database", "")
    return str(named.get("name", "?")) if isinstance(named, dict) else str(named)


def replace_tables(tree: Any, sources: Mapping[str, Tree], names: Collection[str]) -> None:
    """Put `sources` in the place of table functions and tables of that name, everywhere.

    names: which of them stand for tables (external data); the others for table functions.
    """
    for node in _nodes(tree):
        if node.get("type") != "TableExpression":
            continue
        function, table = node.get("table_function"), node.get("database_and_table_name")
        if function and function.get("name") in sources and function["name"] not in names:
            node["table_function"] = _aliased(sources[function["name"]], function)
        elif table and table.get("name") in names and table.get("name") in sources:
            del node["database_and_table_name"]
            node["table_function"] = _aliased(sources[table["name"]], table)


def limit(tree: Any, most: Mapping[str, int]) -> None:
    """Lower every limit in a SETTINGS clause that is above `most`."""
    for node in _nodes(tree):
        if node.get("type") == "SetQuery":
            for change in node.get("changes", ()):
                if change["name"] in most:
                    change["value"] = {
                        "field_type": "UInt64",
                        "value": lowered(change["value"].get("value"), most[change["name"]]),
                    }


def lowered(value: object, most: int) -> int:
    """A limit that a caller wants, at most `most`; 0 and nonsense mean no limit, so `most`."""
    try:
        wanted = int(float(str(value)))
    except (ValueError, OverflowError):
        return most
    return min(wanted, most) if wanted > 0 else most


def _aliased(source: Tree, instead_of: Tree) -> Tree:
    alias = instead_of.get("alias")
    return {**source, "alias": alias} if alias else dict(source)


def _nodes(tree: Any) -> Iterator[Tree]:
    if isinstance(tree, dict):
        yield tree
        for child in list(tree.values()):
            yield from _nodes(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)
