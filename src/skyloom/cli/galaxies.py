"""Commands about galaxies that no telescope has seen: simulate, concept, inpaint, transfer, field, score."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from warnings import catch_warnings, simplefilter

import typer

import skyloom as sl
from skyloom.cli.console import Json, SurveyArgument, finish, job, pairs, sides
from skyloom.cli.described import describe, sentence
from skyloom.report.destination import page_destination

WithOption = Annotated[str, typer.Option("--with", metavar="NAME", help="galaxy-kids, -mock, -zoo, or a run.")]
SeedOption = Annotated[int, typer.Option(help="Same seed, same bytes.")]


class Sampler(StrEnum):
    dpm = "dpm"
    heun = "heun"
    ddim = "ddim"
    ancestral = "ancestral"


def simulate(
    survey: Annotated[Path, typer.Argument(metavar="SURVEY", help="The survey to write.")],
    with_: WithOption,
    n: Annotated[int, typer.Option("--n", help="How many galaxies.")],
    steps: Annotated[int | None, typer.Option(help="Of the sampler; the usual number if not given.")] = None,
    seed: SeedOption = 0,
    sampler: Annotated[Sampler | None, typer.Option(help="The usual one of the weights if not given.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What to ask for, e.g. r_mag=19; repeatable.")
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="SURVEY:ID", help="Ask for what the weights know and that galaxy has.")
    ] = None,
    concept: Annotated[Path | None, typer.Option(metavar="FILE", help="Ask for what `concept` has learnt.")] = None,
    guidance: Annotated[float, typer.Option(help="Above 1: closer to what is asked, and less varied.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Draw N galaxies that no telescope has seen into a new SURVEY; of weights that can be asked, for what they are."""
    asked = pairs(label, "--label", "r_mag=19")
    with job(as_json) as progress, catch_warnings(record=True) as warned:
        simplefilter("always")
        chosen = None if sampler is None else sampler.value
        made = sl.simulate(
            survey, with_, n, steps=steps, seed=seed, sampler=chosen, labels=asked, like=like, concept=concept,
            guidance=guidance, progress=progress,
        )  # fmt: skip
        for one in warned:
            typer.echo(f"warning: {one.message}", err=True)
        remarks = (
            f"drawn by {Path(with_).name}",
            f"seed {seed}",
            *(f"{name} = {value}" for name, value in asked.items()),
        )
        summary = {**describe(made), "with": with_, "seed": seed, "asked": asked, "guidance": guidance}
        summary |= {"like": like, "concept": concept, "notes": list(made.info.notes[2:])}
        finish(sentence(made, *remarks), summary, as_json)


def concept(
    survey: SurveyArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, .json.")],
    with_: WithOption,
    example: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="A galaxy that shows what is meant; repeatable.")
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Or all that pass a filter of the survey.")] = None,
    steps: Annotated[int, typer.Option(help="Of learning.")] = 300,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Learn what a few galaxies of SURVEY have in common, as a vector to ask for: simulate --concept OUT."""
    with job(as_json) as progress:
        ids = list(example or [])
        if where is not None:
            ids += sl.open(survey).table(["object_id"], where)["object_id"].to_pylist()
        made = sl.concept(survey, ids, with_, out, steps=steps, seed=seed, progress=progress)
        gained = f"what is left of their noise {made.error:.4g}, with nothing said {made.plain:.4g}"
        summary = {"concept": str(out), "examples": made.examples, "error": made.error, "plain": made.plain}
        finish(f"{out}: learnt from {made.examples} galaxies; {gained}", summary, as_json)


def inpaint(
    survey: SurveyArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The survey to write.")],
    mask: Annotated[str, typer.Option(help="A column, a file (.fits, .npy) or folder of masks; `trails`; `bad`.")],
    with_: WithOption,
    samples: Annotated[int, typer.Option(min=2, help="Draws per galaxy: their mean fills it, their spread is σ.")] = 8,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Fill what a mask covers, from what is around it; nothing else is touched."""
    with job(as_json) as progress:
        made = sl.inpaint(survey, out, mask, with_, samples=samples, seed=seed, progress=progress)
        finish(sentence(made, *made.info.notes[-1:]), {**describe(made), "with": with_, "seed": seed}, as_json)


def transfer(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A survey, FITS cutouts, a picture or a folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The survey to write.")],
    with_: WithOption,
    strength: Annotated[float, typer.Option(help="0 leaves an image as it is, 1 leaves nothing of it.")] = 0.6,
    neighbours: Annotated[
        Path | None, typer.Option(metavar="SURVEY", help="Name the nearest images of SURVEY.")
    ] = None,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Give any images the look of the survey that the weights learnt from."""
    with job(as_json) as progress:
        made = sl.transfer(source, out, with_, strength=strength, seed=seed, progress=progress)
        for line in made.told:
            typer.echo(line, err=as_json)
        near = {} if neighbours is None else sl.nearest(made.survey, neighbours)
        for name, found in near.items():
            typer.echo(f"{name}: nearest {', '.join(found.ids)}", err=as_json)
        summary = {
            **describe(made.survey),
            "conserved": made.told,
            "nearest": {name: found.ids for name, found in near.items()},
        }
        finish(sentence(made.survey, f"strength {strength:g}"), summary, as_json)


def field(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    with_: Annotated[str, typer.Option("--with", metavar="NAME", help="deep-field, or a run.")],
    shape: Annotated[str, typer.Option(metavar="HxW", help="Rows and columns [pixel], e.g. 4096x4096.")],
    tile: Annotated[int, typer.Option(help="Side of a tile [pixel].")] = 1024,
    seed: SeedOption = 0,
    noise: Annotated[float, typer.Option(help="Of the sky, in units of the survey's; 0 for light alone.")] = 1.0,
    hips: Annotated[bool, typer.Option("--hips", help="Also index.html to look at it, and a HiPS for Aladin.")] = False,
    as_json: Json = False,
) -> None:
    """Make a deep field of any size: FITS tiles with WCS, an index, a catalogue of its sources."""
    with job(as_json) as progress:
        made = sl.field(
            directory, with_, sides(shape), tile=tile, seed=seed, noise=noise, for_hips=hips, progress=progress
        )
        height, width = made.field.shape
        bands, tiles = made.field.info.band_names, made.field.plan.grid[0] * made.field.plan.grid[1]
        said = f"{directory}: {height}×{width} pixels in {', '.join(bands)}; {tiles} tiles, {made.new} of them new"
        said += f"; {made.sources} sources"
        summary = {
            "field": str(directory), "shape": [height, width], "bands": list(bands), "tiles": tiles, "new": made.new,
            "sources": made.sources, "with": with_, "seed": seed,
        }  # fmt: skip
        if hips:
            page = sl.field_page(directory, progress=progress)
            summary |= {"page": str(page), "hips": str(sl.hips(directory, progress=progress))}
            said += f"; look at {page}"
        finish(said, summary, as_json)


def score(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="A survey of real galaxies, or of pieces of a field.")],
    fake: Annotated[Path, typer.Argument(metavar="FAKE", help="A survey of generated ones.")],
    metric: Annotated[list[str] | None, typer.Option(help="One of them only; repeatable. See docs/score.md.")] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Real galaxies not trained on, where REAL are those trained on: memorisation.")
    ] = None,
    inception: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights of an encoder of pictures, TorchScript. See docs/score.md."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", help="How many of each; all fakes, at most half of the real ones, if not given."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A page with figures, .html.")] = None,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Compare FAKE with REAL: every score with its error, its n, and what real galaxies score against each other."""
    with job(as_json) as progress:
        if out is not None:
            page_destination(out)  # said before the work
        found = sl.score(real, fake, metric, held_out=held_out, inception=inception, n=n, seed=seed, progress=progress)
        typer.echo(str(found), err=as_json)
        if out is not None:
            sl.score_page(found, real, fake, out)
        rows = found.table().to_pylist()
        finish(f"{out or fake}: {len(rows)} scores, n = {found.n}", {"scores": rows, "n": found.n}, as_json)
