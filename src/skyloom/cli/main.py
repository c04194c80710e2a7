"""One command per verb: parse, call the library function of the same name, say in one line what was made."""

from __future__ import annotations

from skyloom.cli.console import app
from skyloom.cli.galaxies import simulate
from skyloom.cli.networks import profile, train
from skyloom.cli.pages import report, tour
from skyloom.cli.surveys import export, ingest, mock

for verb in (ingest, mock, export, profile, train, simulate, report, tour):  # in the order in which help lists them
    app.command()(verb)


def main() -> None:
    """The entry point of the command `skyloom`."""
    app()
