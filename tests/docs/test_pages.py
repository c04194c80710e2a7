"""Every command, public name, file and Source line is documented, and no page loads anything from elsewhere."""

import ast
import re
import runpy
from pathlib import Path

import pytest

import skyloom as sl
from skyloom.cli.main import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FILES = sorted((ROOT / "src" / "skyloom").rglob("*.py"))
AUTHORS_AND_YEAR = re.compile(r"[A-Z][\w'-]+(?: (?:et al\.|& [A-Z][\w'-]+))? (?:19|20)\d\d")


@pytest.mark.parametrize("page", ["cli.md", "api.md"])
def test_the_reference_matches_the_code(page):
    makers = runpy.run_path(str(ROOT / "scripts" / "reference.py"))["PAGES"]
    written = {path.name: make() for path, make in makers.items()}
    assert (DOCS / page).read_text(encoding="utf-8") == written[page], "run python scripts/reference.py"


@pytest.mark.parametrize("verb", [command.callback.__name__ for command in app.registered_commands])
def test_every_command_has_a_section_and_a_page(verb):
    assert f"\n## {verb}\n" in (DOCS / "cli.md").read_text(encoding="utf-8")
    page = DOCS / f"{'report' if verb == 'tour' else verb}.md"
    assert f"skyloom {verb}" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in sl.__all__ if name != "__version__"])
def test_every_public_name_is_documented_and_has_a_docstring(name):
    assert re.search(rf"^::: skyloom\..*\b{name}$", (DOCS / "api.md").read_text(encoding="utf-8"), re.M)
    assert getattr(sl, name).__doc__


def source_lines(file: Path) -> list[str]:
    """The text after each "Source:" of a docstring, up to "We differ" or the end of its paragraph."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, nodes)]
    found = re.findall(r"^Source: (.*?)(?=\n\n|\n\w+ : |We differ|\Z)", "\n\n".join(texts), re.M | re.S)
    return [" ".join(text.split()) for text in found]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "src" / "skyloom")))
def test_every_source_is_in_the_table_of_papers(file):
    table = (DOCS / "papers.md").read_text(encoding="utf-8")
    for source in source_lines(file):
        missing = [cited for cited in AUTHORS_AND_YEAR.findall(source) if cited not in table]
        assert not missing, f"docs/papers.md does not name {missing}"


def test_every_file_named_in_the_table_of_papers_exists():
    table = (DOCS / "papers.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|benchmarks)/[\w/.]+)`", table)
    assert named and not [path for path in named if not (ROOT / path).exists()]


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    entries = set(re.findall(r"[\w/.-]+\.md", navigation))
    assert entries == {str(page.relative_to(DOCS)) for page in PAGES}


def test_no_page_loads_anything_from_elsewhere():
    assert "font: false" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"!\[[^\]]*\]\(https?:|<(?:script|img|iframe|link)[^>]*https?:", text), page


def readme_tree() -> set[Path]:
    """The paths drawn in the README, relative to the root."""
    tree = re.search(r"```text\nskyloom/\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert tree, "the README has no annotated file tree"
    path: list[str] = []
    drawn = set()
    for line in tree[1].splitlines():
        branch, name = re.match(r"([│├└─ ]*)(\S+)", line).groups()
        path[len(branch) // 4 - 1 :] = [name.rstrip("/")]
        drawn.add(Path(*path))
    return drawn


def test_every_file_in_the_readme_tree_exists():
    absent = {path for path in readme_tree() if not (ROOT / path).exists()}
    assert not absent


def test_every_module_is_in_the_readme_tree():
    modules = {file.relative_to(ROOT) for file in FILES if file.name != "__init__.py"}
    missing = modules - readme_tree()
    assert not missing
