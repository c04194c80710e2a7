"""What gets installed with skyloom: nothing that breaks beside the CPU build of PyTorch, nothing under the GPL."""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
WEAK_COPYLEFT_ALLOWED = {"sep"}  # LGPL: a library that is imported, not a part that is copied


def closure(requirements: list[str]) -> dict[str, Distribution]:
    """Every installed distribution that these requirements pull in, by canonical name."""
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        wanted, extra = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": extra})):
            continue
        try:
            found[name] = distribution(wanted.name)
        except PackageNotFoundError:
            continue
        inner = [Requirement(text) for text in found[name].requires or ()]
        waiting += [(need, extra) for need in inner for extra in (wanted.extras or {""})]
    return found


CORE = closure(PROJECT["dependencies"])
OPTIONAL = closure([line for lines in PROJECT["optional-dependencies"].values() for line in lines])


def licence(found: Distribution) -> str:
    """The licence as stated: the SPDX expression, or the short name and the classifiers."""
    facts = found.metadata
    if facts.get("License-Expression"):
        return facts["License-Expression"]
    short = (facts.get("License") or "").strip().partition("\n")[0]
    return " ".join([short, *(line for line in facts.get_all("Classifier") or () if line.startswith("License"))])


def test_every_core_dependency_is_installed():
    wanted = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert wanted <= CORE.keys()


@pytest.mark.parametrize("name", sorted(CORE | OPTIONAL))
def test_no_dependency_is_under_the_gpl(name):
    words = licence((CORE | OPTIONAL)[name])
    without_exceptions = re.sub(r"A?GPL-[\d.]+(-or-later|-only)? WITH \S+", "", words)
    lesser = re.search(r"LGPL|Lesser General Public", without_exceptions)
    assert not lesser or name in WEAK_COPYLEFT_ALLOWED, f"{name} is under {words!r}"
    assert not re.search(r"(?<!L)GPL|Affero|(?<!Lesser )General Public", without_exceptions), (
        f"{name} is under {words!r}"
    )


def test_nothing_pulls_torchvision():
    pullers = {"torchvision", "torchaudio", "timm", "torch-fidelity"}
    assert not pullers & (CORE | OPTIONAL).keys(), "beside a CPU build of PyTorch torchvision breaks at import"


def test_a_cpu_build_of_torch_brings_no_nvidia_package():
    import torch

    if torch.version.cuda is not None:
        pytest.skip(f"this PyTorch is the CUDA {torch.version.cuda} build")
    nvidia = [found.name for found in distributions() if re.match(r"(nvidia|triton)\b", found.name or "")]
    assert not nvidia
