"""Several processes train one network together; one that fails ends the training with its reason."""

import os
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from inspection.errors import ConfigError
from inspection_training.torchvision_detectors.processes import together

PLACES = ("cpu", "cpu")


def fit(folder: Path, rank: int) -> torch.Tensor:
    """Fit a line to points of which each process has its own half."""
    torch.set_num_threads(1)
    torch.manual_seed(rank)  # DDP starts everybody from the weights of rank 0
    model = DistributedDataParallel(nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    x = torch.linspace(-1, 1, 8).reshape(-1, 1)[rank::2]
    for _ in range(100):
        optimizer.zero_grad()
        ((model(x) - (3 * x + 1)) ** 2).mean().backward()
        optimizer.step()
    found = torch.cat([p.detach().flatten() for p in model.parameters()])
    (folder / f"{rank}").write_text(f"{os.getpid()} {found.tolist()}")
    return found


def fail(_folder: Path, rank: int) -> None:
    raise ValueError(f"rank {rank} has had enough")


def test_they_learn_the_same_from_what_each_of_them_sees(tmp_path):
    with together(PLACES, fit, tmp_path):
        found = fit(tmp_path, 0)
    assert found.tolist() == pytest.approx([3, 1], abs=0.01)
    first, second = ((tmp_path / name).read_text().split(" ", 1) for name in "01")
    assert first[0] != second[0], "two processes"
    assert first[1] == second[1], "one network"
    assert not distributed.is_initialized()


def test_one_that_fails_ends_the_training_with_its_reason(tmp_path):
    with (
        pytest.raises(ConfigError, match=r"(?s)a process .* failed: .*rank 1 has had enough"),
        together(PLACES, fail, tmp_path),
    ):
        pass
    assert not distributed.is_initialized()


def test_one_place_needs_no_other_process(tmp_path):
    with together(("cpu",), fail, tmp_path):
        assert not distributed.is_initialized()
