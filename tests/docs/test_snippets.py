"""Every ```python and ```bash block of the README and of docs/ runs, in order, in an empty folder per page.

A page may use `kids.lance` and `mocks.lance` without making them: then they are the eight galaxies of conftest.py.
`<!-- not run: why -->` above a block leaves it out. A page that builds the sample survey or a report, trains, fills, or
scores is a slow test.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import skyloom as sl

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n\n?)?^```(python|bash)\n(.*?)^```", re.M | re.S)
SLOW = re.compile(r"skyloom (ingest sample|inpaint|report|score|tour|train)|sl\.(sample|tour)\(|ingest\(\"sample")
SHIM = '#!/bin/sh\nexec "{python}" -m skyloom "$@"\n'


def blocks(page: Path) -> list[tuple[str, str]]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, code) for left_out, language, code in found if not left_out]


def pages() -> list:
    found = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if blocks(page)]
    marks = {page: pytest.mark.slow if SLOW.search(script(blocks(page))) else () for page in found}
    return [pytest.param(page, marks=marks[page], id=str(page.relative_to(ROOT))) for page in found]


def script(snippets: list[tuple[str, str]]) -> str:
    """One Python program that runs the blocks in order; what one block names, the next ones know."""
    lines = {"python": "{code}", "bash": "import subprocess\nsubprocess.run(['bash', '-euc', {code!r}], check=True)"}
    return "\n".join(lines[language].format(code=code) for language, code in snippets)


def makes(code: str, survey: str) -> bool:
    return bool(re.search(rf"skyloom (ingest \S+|mock) {survey}|sl\.(ingest|mock)\([^)]*{survey}", code))


@pytest.fixture
def folder(tmp_path):
    """An empty folder in which `skyloom` is this skyloom."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "skyloom"
    command.write_text(SHIM.format(python=sys.executable))
    command.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("page", pages())
def test_the_snippets_of_a_page_run(page, folder, tiny_survey_once):
    snippets = blocks(page)
    for survey in ("kids.lance", "mocks.lance"):
        if not any(makes(code, survey) for _, code in snippets):
            shutil.copytree(tiny_survey_once, folder / survey)
    changes = {
        "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": str(Path(sl.__file__).parents[1]),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    command = [sys.executable, "-c", script(snippets)]
    done = subprocess.run(command, cwd=folder, env=os.environ | changes, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
