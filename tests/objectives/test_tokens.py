"""What is hidden from a network that fills in: kinds, halves of images, and never all of an image that is alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from skyloom.objectives.tokens import beyond_a_line, some_hidden
from skyloom.sky.patches import patch_places
from skyloom.sky.tokens import Tokens

N, SIDE = 3_000, 6


def tokens(t, places):
    return Tokens(torch.zeros(N, t, 1), torch.ones(N, t, 1, dtype=torch.bool), places)


def batch():
    at = torch.as_tensor(patch_places(SIDE, SIDE) - (SIDE - 1) / 2).float()
    return {
        "light": tokens(3, torch.zeros(N, 3, 1)),
        "image": tokens(SIDE**2, at.expand(N, -1, -1)),
        **{name: tokens(1, torch.zeros(N, 1, 0)) for name in "abcde"},
    }


@given(st.integers(0, 2**31))
def test_a_third_of_the_images_is_alone_and_of_a_third_of_those_less_than_half_is_hidden(seed):
    hidden = some_hidden(batch(), torch.Generator().manual_seed(seed))
    numbers = torch.cat([hidden[name] for name in "abcde"], 1).all(1)
    image, light = hidden["image"], hidden["light"]
    whole = numbers & ~image.any(1) & ~light.any(1)
    cut = numbers & light.all(1) & image.any(1) & (image.float().mean(1) <= 0.5)
    assert 0.2 < whole.float().mean() < 0.27  # 2/9, and a few by chance
    assert 0.09 < cut.float().mean() < 0.17  # 1/9, and a few by chance
    assert 0.3 < (image.all(1) & light.all(1)).float().mean() < 0.38  # 1/6, and of the other half a third by chance


@given(st.integers(0, 2**31))
def test_what_is_cut_off_lies_on_one_side_and_is_not_more_than_half(seed):
    known = batch()["image"]
    hidden = beyond_a_line(known, torch.Generator().manual_seed(seed)).float()
    assert (hidden.mean(1) <= 0.5).all() and (hidden.sum(1) > 0).all()
    middle = torch.einsum("nt,nta->na", hidden, known.places) / hidden.sum(1, keepdim=True)
    shown = torch.einsum("nt,nta->na", 1 - hidden, known.places) / (1 - hidden).sum(1, keepdim=True)
    assert ((middle * shown).sum(1) < 0).all()  # they lie on opposite sides of the middle
    opposite = hidden[:, [_mirror(at) for at in range(SIDE**2)]]
    assert not (hidden * opposite).any()  # never a patch and the one half a turn away


def _mirror(at: int) -> int:
    places = patch_places(SIDE, SIDE) - (SIDE - 1) / 2
    return int((abs(places + places[at]).sum(1)).argmin())
