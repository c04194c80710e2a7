"""Everything that can go wrong, in one place, sorted by what the user must do next.

SkyloomError
├── SourceError     a file that is missing, damaged, or not what it says    -> fix or replace the file
├── UnitError       a fact of physics that is missing or contradictory      -> give it, e.g. --zero-point r=22.5
├── CutoutError     a cutout that breaks its own rules                      -> fix it, or --skip-bad to set it aside
├── CatalogueError  columns or positions that cannot be used                -> clean them, and say how
├── StoreError      a survey missing, damaged, foreign, or not writable     -> write it again, or elsewhere
├── RequestError    arguments that cannot work together                     -> ask for something else
├── RecipeError     numbers that cannot work together                       -> change the recipe
├── RunError        a run that cannot be resumed or read                    -> start a new one
└── MissingExtraError  an optional library that is not installed            -> pip install 'skyloom[extra]'
"""


class SkyloomError(Exception):
    """Catch this to catch everything skyloom raises on purpose."""


class SourceError(SkyloomError, OSError):
    """A file is missing, truncated, empty, or not of the format it claims; `source` names it."""

    def __init__(self, source, problem: str, remedy: str = "replace the file"):
        self.source, self.problem, self.remedy = str(source), problem, remedy
        super().__init__(f"{source}: {problem}; {remedy}")


class UnitError(SkyloomError, ValueError):
    """A physical fact (zero point, pixel scale, unit) is missing or contradicts another."""


class CutoutError(SkyloomError, ValueError):
    """A cutout breaks its own rules: shapes, types, or signs that no telescope produces."""


class CatalogueError(SkyloomError, ValueError):
    """Columns or positions are missing, duplicated, or cannot be compared."""


class StoreError(SkyloomError, OSError):
    """A survey is missing, damaged, written by a newer skyloom, or cannot be written."""


class RequestError(SkyloomError, ValueError):
    """The arguments of one call cannot work together."""


class RecipeError(SkyloomError, ValueError):
    """The numbers of a recipe cannot work together."""


class RunError(SkyloomError, OSError):
    """A run directory cannot be resumed or read."""


class MissingExtraError(SkyloomError, ImportError):
    """An optional library is needed for this job and is not installed."""

    def __init__(self, library: str, extra: str):
        self.library, self.extra = library, extra
        super().__init__(f"this job needs {library}, which is not installed; pip install 'skyloom[{extra}]'")
