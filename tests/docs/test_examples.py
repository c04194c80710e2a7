"""Every file in examples/ runs, as it is, in an empty folder, and says what it made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import skyloom as sl

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example, tmp_path):
    changes = {"PYTHONPATH": str(Path(sl.__file__).parents[1]), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, example], cwd=tmp_path, env=os.environ | changes, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_and_shown_in_the_documentation(example):
    assert len(example.read_text(encoding="utf-8").splitlines()) < 60
    docs = example.parents[1] / "docs"
    assert any(f'"examples/{example.name}"' in page.read_text(encoding="utf-8") for page in docs.glob("*.md"))
