"""The walls of the house: who imports whom, what the core may not touch, how big a file is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "multiwanbond"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A folder may import those of lower layers. Folders of one layer do not see each other.
LAYERS = [
    {"errors"},
    {"units"},
    {"options"},
    {"native"},
    {"core"},
    {"config"},
    {"linux", "plugins", "control", "sim"},
    {"daemon", "web", "lab"},
    {"cli", "api"},
]
SIDEWAYS: set[tuple[str, str]] = set()

PURE = {
    "abc", "array", "bisect", "collections", "cryptography", "dataclasses", "enum", "functools",
    "hashlib", "heapq", "hmac", "ipaddress", "itertools", "math", "operator", "struct", "typing",
    "zfec", "zstandard",
}  # fmt: skip
"""All that the core may import besides itself: nothing with a clock, a socket, or chance in it."""

LONGEST_FILE = 500


def layer_of(folder: str) -> int:
    return next(level for level, folders in enumerate(LAYERS) if folder in folders)


def imported_modules(source: Path) -> Iterator[str]:
    """Every module `source` imports, in full."""
    package = ("multiwanbond", *source.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            yield ".".join([*base, node.module] if node.module else base)


def folder_of(source: Path) -> str:
    return source.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(source: Path) -> None:
    own = folder_of(source)
    if own.startswith("__"):
        return
    for module in imported_modules(source):
        parts = module.split(".")
        if parts[0] != "multiwanbond" or len(parts) == 1 or parts[1] == own:
            continue
        is_allowed = layer_of(parts[1]) < layer_of(own) or (own, parts[1]) in SIDEWAYS
        assert is_allowed, f"{own} must not import {module}"


@pytest.mark.parametrize(
    "source", sorted((PACKAGE / "core").rglob("*.py")), ids=lambda path: path.name
)
def test_the_core_is_pure(source: Path) -> None:
    tops = {module.split(".")[0] for module in imported_modules(source)}

    assert tops - PURE - {"multiwanbond"} == set()


def test_no_file_grows_beyond_its_ceiling() -> None:
    long = {
        str(source.relative_to(PACKAGE)): lines
        for source in SOURCES
        if (lines := len(source.read_text().splitlines())) > LONGEST_FILE
    }

    assert long == {}


def test_every_folder_says_what_it_is_for() -> None:
    silent = [
        str(init.relative_to(PACKAGE))
        for init in PACKAGE.rglob("__init__.py")
        if not ast.get_docstring(ast.parse(init.read_text()))
    ]

    assert silent == []


def test_every_parser_of_foreign_bytes_is_fuzzed() -> None:
    parsers = {
        node.name
        for source in SOURCES
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and node.name.endswith("_untrusted")
        and not node.name.startswith("_")
    }
    fuzzers = [
        text
        for test in (PACKAGE.parent / "tests").rglob("test_*.py")
        if "from hypothesis import" in (text := test.read_text())
    ]

    missing = {name for name in parsers if not any(name in text for text in fuzzers)}

    assert missing == set()
