"""The command line: every verb does its job, says what it made, and fails in words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import skyloom as sl
from skyloom.cli import console
from skyloom.cli.main import app
from skyloom.cli.surveys import Format

VERBS = [
    "ingest", "mock", "export", "profile", "train", "embed", "search", "anomalies", "simulate",
    "concept", "inpaint", "transfer", "field", "classify", "complete", "scale", "score", "report", "tour",
]  # fmt: skip
HEAVY = ["torch", "numpy", "astropy", "matplotlib", "lance", "pyarrow", "scipy", "galsim", "h5py", "sep"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def python(*arguments, **options):
    """A fresh interpreter that imports this skyloom."""
    path = str(Path(sl.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, **options)


def summary(result) -> dict:
    """The JSON of the last line of standard output."""
    return json.loads(result.stdout.splitlines()[-1])


def test_the_commands_are_the_verbs():
    assert [command.callback.__name__ for command in app.registered_commands] == VERBS
    assert all(hasattr(sl, verb) for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_and_every_option_has_help(verb):
    answer = run(verb, "--help")
    assert answer.exit_code == 0
    lines = [line for line in answer.stdout.splitlines() if line.lstrip().startswith("--")]
    follows = dict(zip(lines, answer.stdout.splitlines()[1:], strict=False))
    assert lines and "--json" in answer.stdout
    assert all(len(line.split("  ")) > 1 or follows[line].strip() for line in lines)


def test_the_version_is_printed():
    assert run("--version").stdout.strip() == f"skyloom {sl.__version__}"


@pytest.mark.parametrize("start", ["import skyloom", "import skyloom.cli.main"])
def test_starting_loads_nothing_heavy(start):
    loaded = python("-c", f"{start}, sys; print(*sys.modules)").stdout.split()
    assert "skyloom" in loaded
    assert not set(HEAVY) & set(loaded)


def test_the_verb_report_is_not_hidden_by_the_room_of_that_name():
    said = python("-c", "import skyloom.report.page, skyloom; print(callable(skyloom.report))")
    assert said.stdout.strip() == "True", said.stderr


def test_help_comes_at_once():
    quickest = min(float(python("-c", START_UP).stdout.split()[-1]) for _ in range(3))
    assert quickest < 0.5, f"skyloom --help takes {quickest:.2f} CPU seconds"


START_UP = """
import contextlib, io, sys, time
from skyloom.cli.main import app
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    app(["--help"])
print(time.process_time())
"""


@pytest.mark.parametrize("given", ["r", "r=", "=22.5", "r=bright", "r=nan", "r=inf"])
def test_a_zero_point_must_be_a_band_and_a_number(given):
    answer = run("ingest", "image.fits", "kids.lance", "--zero-point", given)
    assert answer.exit_code == 2
    assert "BAND=MAG" in answer.stderr


def test_a_zero_point_is_given_once_per_band():
    answer = run("ingest", "image.fits", "kids.lance", "--zero-point", "r=22.5", "--zero-point", "r=25")
    assert answer.exit_code == 2
    assert "twice" in answer.stderr


def test_zero_points_become_a_table():
    assert console.zero_points(["g=22.5", "VIS=25.58"]) == {"g": 22.5, "VIS": 25.58}


@pytest.mark.parametrize(
    "arguments", [["weave"], ["mock", "m.lance"], ["mock", "m.lance", "--n", "0"], ["export", "a"]]
)
def test_wrong_usage_exits_with_2(arguments):
    assert run(*arguments).exit_code == 2


def test_a_named_error_is_a_message_and_exit_code_1(tmp_path):
    answer = run("profile", tmp_path / "absent.lance", "--out", tmp_path / "t.parquet", "--json")
    assert answer.exit_code == 1
    assert answer.stderr.startswith("StoreError: ") and "absent.lance" in answer.stderr
    assert "Traceback" not in answer.output
    assert summary(answer)["error"] == "StoreError"


def test_a_page_that_is_none_is_refused_before_anything_is_scored(tmp_path):
    answer = run("score", tmp_path / "not.lance", tmp_path / "there.lance", "--out", tmp_path / "scores.csv")
    assert answer.exit_code == 1 and "ends in .html" in answer.output and "lance" not in answer.output


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), console.job(as_json=False):
        _ = 1 / 0


def test_an_interrupt_exits_with_130_and_says_that_nothing_is_half_written(capsys):
    with pytest.raises(typer.Exit) as stop, console.job(as_json=False):
        raise KeyboardInterrupt
    assert stop.value.exit_code == 130
    assert "half-written" in capsys.readouterr().err


def test_without_a_terminal_progress_is_plain_lines(capsys):
    with console.progress_lines() as progress:
        progress(0, 100, "profiles")
        progress(1, 100, "profiles")
        progress(7, None, "cutouts")
    assert capsys.readouterr().err == "profiles: 0 of 100\ncutouts: 7\n"


def test_mock_then_profile_then_report(tmp_path):
    survey, table, page = tmp_path / "mocks.lance", tmp_path / "profiles.parquet", tmp_path / "page.html"
    made = run("mock", survey, "--n", 3, "--size", 48, "--bands", "r", "--seed", 1, "--json")
    assert made.exit_code == 0, made.output
    assert summary(made)["objects"] == 3 == len(sl.open(survey))
    measured = run("profile", survey, "--out", table, "--json")
    assert measured.exit_code == 0, measured.output
    assert summary(measured)["profiles"] == 3 and table.exists()
    reported = run("report", survey, table, "--out", page)
    assert reported.exit_code == 0, reported.output
    assert "<html" in page.read_text(encoding="utf-8").lower()


@pytest.mark.parametrize("format", list(Format))
def test_export_writes_every_format(format, tiny_survey, tmp_path):
    answer = run("export", tiny_survey.path, tmp_path / "out", "--format", format, "--json")
    assert answer.exit_code == 0, answer.output
    assert summary(answer)
    assert any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_ingest_says_what_it_made_and_what_the_source_did_not_say(sersic_image, tmp_path):
    from astropy.io import fits

    folder = tmp_path / "cutouts"
    folder.mkdir()
    for number in range(3):
        image = sersic_image(size=32) + np.float32(number)
        fits.PrimaryHDU(image).writeto(folder / f"galaxy-{number}.fits")
    answer = run("ingest", folder, tmp_path / "kids.lance", "--json")
    assert answer.exit_code == 0, answer.output
    assert summary(answer)["objects"] == 3
    assert "instrumental units" in answer.stderr and "3 cutouts of 32×32" in answer.stderr


def test_what_is_set_aside_is_counted_by_reason(sersic_image, tmp_path):
    from astropy.io import fits

    folder = tmp_path / "cutouts"
    folder.mkdir()
    fits.PrimaryHDU(sersic_image(size=32)).writeto(folder / "good.fits")
    (folder / "empty.fits").touch()
    assert run("ingest", folder, tmp_path / "strict.lance").stderr.startswith("SourceError: ")
    answer = run("ingest", folder, tmp_path / "kids.lance", "--skip-bad", "--json")
    assert answer.exit_code == 0, answer.output
    assert sum(summary(answer)["set_aside"].values()) == 1
    assert "1 set aside" in answer.stderr


def test_the_module_is_the_command():
    assert python("-m", "skyloom", "--version").stdout.strip() == f"skyloom {sl.__version__}"
