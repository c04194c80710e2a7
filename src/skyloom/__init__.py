"""skyloom turns a survey's pixels into profiles, catalogues, searches and simulations.

Every job is one function here and one command of the same name. Nothing heavy is imported until a job is called.
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_HOMES = {
    "open": "skyloom.data.store",
    "Survey": "skyloom.data.store",
    "Band": "skyloom.data.cutout",
    "Cutout": "skyloom.data.cutout",
    "SurveyInfo": "skyloom.data.cutout",
    "ingest": "skyloom.data.ingest",
    "sample": "skyloom.data.ingest",
    "export": "skyloom.data.export",
    "batches": "skyloom.data.batches",
    "mock": "skyloom.data.mocks.mock",
    "train": "skyloom.recipes.training",
    "scale": "skyloom.recipes.scale",
    "profile": "skyloom.infer.profiles",
    "embed": "skyloom.infer.embed",
    "search": "skyloom.recipes.search",
    "anomalies": "skyloom.recipes.anomalies",
    "survey_map": "skyloom.infer.maps",
    "map_figure": "skyloom.report.maps",
    "simulate": "skyloom.infer.simulate",
    "concept": "skyloom.infer.concept",
    "galsim_galaxies": "skyloom.infer.galsim_galaxies",
    "inpaint": "skyloom.infer.inpaint",
    "transfer": "skyloom.infer.transfer",
    "field": "skyloom.infer.fields.field",
    "field_page": "skyloom.report.fields.page",
    "hips": "skyloom.report.fields.hips",
    "classify": "skyloom.infer.classify",
    "complete": "skyloom.infer.complete",
    "nearest": "skyloom.metrics.nearest",
    "score": "skyloom.metrics.comparison",
    "score_page": "skyloom.report.scores",
    "report": "skyloom.report.page",
    "tour": "skyloom.recipes.tour",
    "SkyloomError": "skyloom.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'skyloom' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """`skyloom.report` is the verb, also after an import of the room of that name has tried to take its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
