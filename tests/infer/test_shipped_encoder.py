"""The encoder that comes with skyloom: its card's claims, on galaxies of the sample survey that no training saw."""

import numpy as np
import pytest

import skyloom as sl
from skyloom.checkpoint import SHIPPED, open_run
from skyloom.data.embeddings import read_embeddings
from skyloom.infer.embed import encoder_of
from skyloom.metrics.probes import probe
from skyloom.recipes.lesson import splits_of

NAME = "simclr-kids"


def test_it_is_small_and_says_what_it_is():
    folder = SHIPPED / NAME
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    assert (folder / "card.md").exists() and encoder_of(NAME).info.band_names == (*"ugriZYJH", "Ks")


@pytest.mark.slow
def test_its_vectors_know_what_the_card_says(tmp_path):
    survey = sl.ingest("sample", tmp_path / "kids.lance")
    made = sl.embed(survey, NAME)
    assert made.made == len(survey) - len(made.blind)
    found = read_embeddings(made.survey, NAME)
    split = splits_of([survey], 0)[0]
    train, unseen = (np.isin(found.ids, ids) for ids in (split.ids["train"], split.ids["calibration"]))
    unseen |= np.isin(found.ids, split.ids["test"])
    magnitude = survey.table(["mag_r"]).take(survey.rows_of(found.ids))["mag_r"].to_numpy(zero_copy_only=False)
    stated = {row["target"]: row[NAME] for row in open_run(NAME).facts("scores")["rows"] if row["probe"] == "linear"}[
        "magnitude r"
    ]
    again = probe(found.vectors.astype(float), magnitude.astype(float), train, unseen)
    assert again.score.value == pytest.approx(stated[0], abs=0.01)
