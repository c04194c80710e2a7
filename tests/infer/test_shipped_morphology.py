"""The weights `morphology` that come with skyloom: small, offline, as their card says, and a turn changes nothing."""

import numpy as np
import pytest

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.data import store
from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.infer.looks import eye_of
from skyloom.nn.equivariant import TurnedConv


def pictures(path, turns=0):
    """Four sources in 8 bits and three colours."""
    info = SurveyInfo(
        tuple(Band(name, None, None, "uint8 (display stretch)") for name in "RGB"), (256, 256), None, "", "", "", ()
    )
    rng = np.random.default_rng(0)
    y, x = np.indices((256, 256)) - 127.5
    cutouts = []
    for k in range(4):
        light = 200 * np.exp(-np.hypot(x / (8 + 6 * k), y / (8 + 2 * k))) + rng.normal(8, 2, (3, 256, 256))
        flux = np.rot90(np.clip(light, 0, 255).round().astype(np.float32), turns, (1, 2)).copy()
        cutouts.append(Cutout(f"{k}", flux, np.full_like(flux, 0.25), tile=f"{k}"))
    return store.write(path, info, iter(cutouts))


@pytest.mark.parametrize("turns", [1, 2])
def test_a_turned_picture_has_the_same_chance(tmp_path, turns):
    upright = sl.classify(pictures(tmp_path / "a.lance"))
    turned = sl.classify(pictures(tmp_path / "b.lance", turns))
    assert set(upright["label"].to_pylist()) <= {"0", "1"}
    # the middle of 256 pixels in cells of 3 is half a cell from the middle of the cells, so not to the last digit
    np.testing.assert_allclose(turned["probability"].to_numpy(), upright["probability"].to_numpy(), atol=0.02)


def test_they_are_small_and_their_card_says_what_was_measured():
    run = open_run("morphology")
    assert sum(file.stat().st_size for file in run.path.iterdir()) < 4 << 20
    scores, card = run.facts("scores"), (run.path / "card.md").read_text(encoding="utf-8")
    ours = scores["judged"][0]
    assert ours["name"] == "morphology" and scores["n"] == 400 and len(scores["judged"]) == 4
    assert f"{ours['area'][0]:.3f} ± {ours['area'][1]:.3f}" in card and "no clean label of spirals" in card
    assert all(ours["area"][0] > row["area"][3] for row in scores["judged"][1:])  # above their 95 % intervals
    net = eye_of(run).on("cpu")
    assert any(isinstance(layer, TurnedConv) for layer in net.modules())
