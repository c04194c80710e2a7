"""One command per verb: parse, call the library function of the same name, say in one line what was made."""

from __future__ import annotations

from skyloom.cli.console import app
from skyloom.cli.expectations import complete
from skyloom.cli.galaxies import concept, field, inpaint, score, simulate, transfer
from skyloom.cli.looks import classify
from skyloom.cli.networks import embed, profile, train
from skyloom.cli.pages import report, tour
from skyloom.cli.scaling import scale
from skyloom.cli.searches import anomalies, search
from skyloom.cli.surveys import export, ingest, mock

VERBS = (  # as help lists them
    ingest, mock, export, profile, train, embed, search, anomalies, simulate, concept, inpaint, transfer, field,
    classify, complete, scale, score, report, tour,
)  # fmt: skip

for verb in VERBS:
    app.command()(verb)


def main() -> None:
    """The entry point of the command `skyloom`."""
    app()
