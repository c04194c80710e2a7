"""Numbers of a recipe changed by name: `--set steps=500 --set light=learned`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from skyloom.errors import RecipeError

Recipe = TypeVar("Recipe")


def with_settings(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """The recipe with some of its fields, or of the network's config inside it, replaced; values are text.

    Raises RecipeError for a name that the recipe does not have (it lists those there are) or a value of the wrong kind.
    """
    for name, text in settings.items():
        recipe = _replaced(recipe, name, text)
    return recipe


def names_of(recipe: Any) -> list[str]:
    """Every name that `with_settings` accepts."""
    found = []
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        found += names_of(value) if dataclasses.is_dataclass(value) else [field.name]
    return found


def _replaced(recipe: Any, name: str, text: str) -> Any:
    kinds = typing.get_type_hints(type(recipe))
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if field.name == name and not dataclasses.is_dataclass(value):
            return dataclasses.replace(recipe, **{name: _read(text, kinds[name], name)})
        if dataclasses.is_dataclass(value) and name in names_of(value):
            return dataclasses.replace(recipe, **{field.name: _replaced(value, name, text)})
    raise RecipeError(f"{type(recipe).__name__} has no setting {name!r}; it has {', '.join(names_of(recipe))}")


def _read(text: str, kind: Any, name: str) -> Any:
    """A value of a kind from its text."""
    try:
        if get_origin(kind) is Literal:
            if text not in get_args(kind):
                raise ValueError
            return text
        if get_origin(kind) is tuple:
            return tuple(_read(part, get_args(kind)[0], name) for part in text.split(","))
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError) as fault:
        wanted = (
            " or ".join(map(repr, get_args(kind))) if get_origin(kind) is Literal else getattr(kind, "__name__", kind)
        )
        raise RecipeError(f"{name}={text!r} is not {wanted}") from fault
