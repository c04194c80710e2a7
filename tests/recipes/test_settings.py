"""Numbers of a recipe, changed by name."""

import pytest

from skyloom.errors import RecipeError
from skyloom.recipes.profile_decoder import profile_decoder
from skyloom.recipes.settings import names_of, with_settings


def test_a_name_reaches_the_recipe_or_the_network_inside_it():
    recipe = with_settings(
        profile_decoder("smoke"), {"steps": "7", "light": "learned", "widths": "4,8", "learning_rate": "1e-2"}
    )
    assert (recipe.steps, recipe.learning_rate) == (7, 0.01)
    assert (recipe.net.light, recipe.net.widths) == ("learned", (4, 8))
    assert profile_decoder("smoke").steps != 7


@pytest.mark.parametrize(
    "name, text, words",
    [("light", "guessed", "measured"), ("steps", "many", "int"), ("colour", "red", "learning_rate")],
)
def test_what_cannot_be_set_is_named_beside_what_can(name, text, words):
    with pytest.raises(RecipeError, match=words):
        with_settings(profile_decoder("smoke"), {name: text})


def test_every_name_can_be_set_to_what_it_is():
    recipe = profile_decoder("smoke")
    flat = {**{k: v for k, v in vars(recipe).items() if k != "net"}, **vars(recipe.net)}
    texts = {k: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for k, v in flat.items()}
    assert set(names_of(recipe)) == set(texts)
    assert with_settings(recipe, texts) == recipe
