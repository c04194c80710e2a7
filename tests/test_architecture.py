"""The house rules that a machine can read: which way imports flow, what may be imported where, how long a file may be.

See docs/adr/0006-rooms.md. A failure here names the file and the line.
"""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "skyloom"
FILES = sorted(SOURCE.rglob("*.py"))
ORDER = "errors sky data nn objectives samplers checkpoint train infer metrics report recipes cli"
ROOMS = ORDER.split()
JOINERS = {"recipes", "cli", "__init__", "__main__"}  # may use the public names of the package
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "base"}
LONGEST_FILE = 400
IMPORTED_AS = {"faiss-cpu": "faiss", "umap-learn": "umap"}


def each_file(test):
    return pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))(test)


def room(file: Path) -> str:
    first = file.relative_to(SOURCE).with_suffix("").parts[0]
    return "cli" if first == "__main__" else first


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(node: ast.AST) -> list[str]:
    """Full names of the modules that one statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, f"line {node.lineno}: a relative import hides its room"
        parts = [f"{node.module}.{alias.name}" for alias in node.names]
        return parts if node.module == "skyloom" else [str(node.module), *parts]
    return []


def imports(file: Path) -> list[tuple[int, str]]:
    return [(node.lineno, name) for node in ast.walk(parse(file)) for name in imported(node)]


@cache
def optional_libraries() -> set[str]:
    extras = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {line.split(">")[0].split("[")[0] for extra, lines in extras.items() if extra != "dev" for line in lines}
    return {IMPORTED_AS.get(name, name) for name in names}


@each_file
def test_every_file_is_in_a_room(file):
    assert room(file) in (*ROOMS, "__init__"), f"{room(file)} is not a room; a new one needs an ADR"
    assert file.stem not in FORBIDDEN_NAMES, f"{file.name} names no idea; name the idea and give it a room"


@each_file
def test_imports_flow_one_way(file):
    here = room(file)
    if here == "__init__":
        return
    for line, name in imports(file):
        package, _, rest = name.partition(".")
        if package != "skyloom" or rest == "__version__":
            continue
        there = rest.split(".")[0]
        if there not in ROOMS:
            assert here in JOINERS, f"line {line}: only recipes and the command line use the public names"
        else:
            assert ROOMS.index(there) <= ROOMS.index(here), f"line {line}: {here} imports {there}, which comes after it"
            assert (here, there) != ("nn", "data"), f"line {line}: a network knows tensors, not cutouts"


def test_no_file_imports_itself_through_others():
    names = {".".join(("skyloom", *file.relative_to(SOURCE).with_suffix("").parts)): file for file in FILES}
    needs = {name: {other for _, other in imports(file) if other in names} for name, file in names.items()}
    while leaves := {name for name, others in needs.items() if not others & needs.keys()}:
        needs = {name: others for name, others in needs.items() if name not in leaves}
    assert not needs, f"these import each other in a circle: {sorted(needs)}"


@each_file
def test_only_optional_libraries_are_imported_inside_a_function(file):
    functions = [node for node in ast.walk(parse(file)) if isinstance(node, ast.FunctionDef)]
    for node in {inner for function in functions for inner in ast.walk(function)}:
        foreign = {name.split(".")[0] for name in imported(node)} - optional_libraries()
        assert not foreign, f"line {node.lineno}: {foreign} imported inside a function"


@each_file
def test_only_the_store_knows_lance(file):
    users = [line for line, name in imports(file) if name.split(".")[0] in ("lance", "lancedb")]
    assert not users or file == SOURCE / "data" / "store.py", f"lines {users}: ask skyloom.data.store instead"


@each_file
def test_nothing_is_printed_pickled_or_swallowed(file):
    for node in ast.walk(parse(file)):
        line = getattr(node, "lineno", 0)
        assert not (isinstance(node, ast.Call) and ast.unparse(node.func) == "print"), f"line {line}: print"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"line {line}: bare except"
        assert not {"pickle", "cPickle", "dill", "joblib"} & set(imported(node)), f"line {line}: pickle"


@each_file
def test_no_file_is_too_long_to_read(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE, f"{lines} lines; a noun is missing"


@each_file
def test_no_function_is_too_long_to_read(file):
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"line {node.lineno}: {node.name} has {length} lines, 60 at most"


@pytest.mark.parametrize("file", [file for file in FILES if file.name == "__init__.py" and file.parent != SOURCE])
def test_only_the_top_level_re_exports(file):
    assert not file.read_text(encoding="utf-8").strip(), "an inner __init__.py is empty"
