"""Commands about galaxies that no telescope has seen: simulate, inpaint, transfer, score."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import skyloom as sl
from skyloom.cli.console import Json, finish, job
from skyloom.cli.described import describe, sentence


class Sampler(StrEnum):
    dpm = "dpm"
    heun = "heun"
    ddim = "ddim"
    ancestral = "ancestral"


def simulate(
    survey: Annotated[Path, typer.Argument(metavar="SURVEY", help="The survey to write.")],
    with_: Annotated[
        str, typer.Option("--with", metavar="NAME", help="galaxy-kids, galaxy-mock, galaxy-zoo, or a run.")
    ],
    n: Annotated[int, typer.Option("--n", help="How many galaxies.")],
    steps: Annotated[int | None, typer.Option(help="Of the sampler; the usual number if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    sampler: Annotated[Sampler | None, typer.Option(help="The usual one of the weights if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Draw N galaxies that no telescope has seen into a new SURVEY."""
    with job(as_json) as progress:
        chosen = None if sampler is None else sampler.value
        made = sl.simulate(survey, with_, n, steps=steps, seed=seed, sampler=chosen, progress=progress)
        remarks = (f"drawn by {Path(with_).name}", f"seed {seed}")
        finish(sentence(made, *remarks), {**describe(made), "with": with_, "seed": seed}, as_json)
