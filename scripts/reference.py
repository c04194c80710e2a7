"""Write docs/cli.md and docs/api.md from the code: `python scripts/reference.py`; with --check only compare.

A test compares too, so the pages cannot fall behind.
"""

import inspect
import sys
from pathlib import Path
from typing import get_args, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

import skyloom as sl
from skyloom.cli.main import app

DOCS = Path(__file__).parents[1] / "docs"
PARTS = {
    "Jobs": [
        "ingest",
        "sample",
        "mock",
        "export",
        "train",
        "profile",
        "embed",
        "search",
        "anomalies",
        "survey_map",
        "map_figure",
        "simulate",
        "concept",
        "galsim_galaxies",
        "inpaint",
        "transfer",
        "field",
        "field_page",
        "hips",
        "classify",
        "complete",
        "scale",
        "nearest",
        "score",
        "score_page",
        "report",
        "tour",
    ],
    "Surveys": ["open", "Survey", "SurveyInfo", "Band", "Cutout"],
    "Training": ["batches"],
    "Errors": ["SkyloomError"],
}
CLI_HEAD = """# Commands

Written by `scripts/reference.py` from the commands themselves. Every command is a function of the same name in Python
([API](api.md)). Exit codes: 0 done, 1 a named error with its message on stderr, 2 usage, 130 interrupted.
Long work shows a progress bar on a terminal and plain lines elsewhere, on stderr.

`skyloom --version` prints the version; `skyloom COMMAND --help` prints what is below.
"""
API_HEAD = """# API

`import skyloom as sl` gives these names. Nothing heavy is imported until one is used.
"""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def spelling(name: str, info: ArgumentInfo | OptionInfo) -> str:
    """How an argument or option is written: `SURVEY`, `--zero-point BAND=MAG`."""
    if isinstance(info, ArgumentInfo):
        return info.metavar or name.upper()
    named = [text for text in (info.default, *(info.param_decls or ())) if str(text).startswith("--")]
    option = named[0] if named else "--" + name.replace("_", "-")
    return f"{option} {info.metavar}" if info.metavar else option


def default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "required"
    return "" if parameter.default is None or parameter.default is False else f"`{parameter.default}`"


def command_page(callback) -> str:
    """One section: usage, one sentence, a table of arguments and options."""
    hints = get_type_hints(callback, include_extras=True)
    rows, arguments = [], []
    for name, parameter in inspect.signature(callback).parameters.items():
        kind, info = get_args(hints[name])[:2]
        if isinstance(info, ArgumentInfo):
            arguments.append(spelling(name, info))
        choices = ", ".join(f"`{choice}`" for choice in getattr(kind, "__members__", ()))
        meaning = f"{info.help} One of {choices}." if choices else info.help
        rows.append(f"| `{spelling(name, info)}` | {cell(meaning)} | {default(parameter)} |")
    usage = " ".join(["skyloom", callback.__name__, *arguments, "[OPTIONS]"])
    table = "\n".join(["| | | default |", "|---|---|---|", *rows])
    return f"\n## {callback.__name__}\n\n`{usage}`\n\n{inspect.getdoc(callback)}\n\n{table}\n"


def cli_page() -> str:
    return CLI_HEAD + "".join(command_page(command.callback) for command in app.registered_commands)


def api_page() -> str:
    homes = sl._HOMES
    unlisted = homes.keys() - {name for names in PARTS.values() for name in names}
    if unlisted:
        raise SystemExit(f"scripts/reference.py: give {sorted(unlisted)} a part of the page, in PARTS")
    parts = []
    for part, names in PARTS.items():
        parts.append(f"\n## {part}\n")
        parts += [f"\n::: {homes[name]}.{name}\n" for name in names]
    return API_HEAD + "".join(parts)


PAGES = {DOCS / "cli.md": cli_page, DOCS / "api.md": api_page}


def main() -> None:
    for page, make in PAGES.items():
        if "--check" not in sys.argv:
            page.write_text(make(), encoding="utf-8")
        elif page.read_text(encoding="utf-8") != make():
            raise SystemExit(f"{page} is behind the code; run python scripts/reference.py")


if __name__ == "__main__":
    main()
