"""Run directories: what goes in comes out, and what does not fit is refused."""

import json

import pytest
import torch
from torch import nn

from skyloom.checkpoint import Run, begin, open_run, shipped
from skyloom.errors import RunError

RECORD = {"recipe": "smoke", "settings": {"steps": 3}, "surveys": [{"hash": "abc"}], "skyloom": "0"}


def net(seed=0, width=4):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def test_weights_come_back_as_they_went(tmp_path):
    run, model = begin(tmp_path / "run", RECORD), net()
    run.save(model)
    back = open_run(tmp_path / "run").load(net(seed=1))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True))
    assert not back.training


def test_half_precision_halves_the_file_and_keeps_three_digits(tmp_path):
    run, model = begin(tmp_path / "run", RECORD), net(width=4096)
    run.save(model)
    whole = (run.path / "weights.safetensors").stat().st_size
    run.save(model, half=True)
    assert (run.path / "weights.safetensors").stat().st_size < 0.6 * whole
    back = run.load(net(seed=1, width=4096))
    torch.testing.assert_close(back[0].weight, model[0].weight, rtol=1e-3, atol=1e-4)


def test_a_resumed_optimiser_takes_the_same_step(tmp_path):
    run = begin(tmp_path / "run", RECORD)

    def step(model, optimiser):
        optimiser.zero_grad()
        (model(torch.ones(2, 3) * torch.tensor([[1.0], [2.0]])) ** 2).sum().backward()
        optimiser.step()

    first = net()
    optimiser = torch.optim.AdamW(first.parameters(), lr=0.1)
    step(first, optimiser)
    run.save_state(1, {"net": first, "optimiser": optimiser})
    step(first, optimiser)
    second = net(seed=7)
    other = torch.optim.AdamW(second.parameters(), lr=0.1)
    assert run.resume({"net": second, "optimiser": other}) == 1
    step(second, other)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_a_new_run_starts_at_nought_and_a_finished_one_forgets_its_state(tmp_path):
    run, model = begin(tmp_path / "run", RECORD), net()
    assert run.resume({"net": model}) == 0
    run.save_state(3, {"net": model})
    run.save(model)
    assert not run.finished
    run.finish()
    assert run.finished and run.resume({"net": model}) == 0


@pytest.mark.parametrize("part, other", [("recipe", "other"), ("settings", {"steps": 4}), ("surveys", [])])
def test_a_directory_of_another_run_is_refused(tmp_path, part, other):
    begin(tmp_path / "run", RECORD)
    with pytest.raises(RunError, match=rf"(?s){part}.*--out"):
        begin(tmp_path / "run", {**RECORD, part: other})
    begin(tmp_path / "run", {**RECORD, "skyloom": "1"})


def test_a_directory_of_something_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="no run"):
        begin(tmp_path, RECORD)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_is_no_run_is_named_beside_what_there_is(tmp_path):
    with pytest.raises(RunError, match="nonsense"):
        open_run("nonsense")
    begin(tmp_path / "young", RECORD)
    with pytest.raises(RunError, match="let it run on"):
        open_run(tmp_path / "young")


def test_damaged_or_foreign_weights_are_a_run_error(tmp_path):
    run = begin(tmp_path / "run", RECORD)
    run.save(net(width=8))
    with pytest.raises(RunError, match="do not fit"):
        run.load(net())
    (run.path / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read"):
        run.load(net())
    (run.path / "recipe.json").write_text("{")
    with pytest.raises(RunError):
        _ = Run(run.path).record


def test_shipped_weights_are_small_whole_and_described():
    total = 0
    for name in shipped():
        run = open_run(name)
        size = (run.path / "weights.safetensors").stat().st_size
        assert size <= 16e6 and run.facts("training")["bands"]
        assert json.loads((run.path / "recipe.json").read_text())["recipe"] in (run.path / "card.md").read_text()
        total += size
    assert total <= 64e6
