"""Nothing that an observer can do to a model or to the process outlives the observation."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from embviz_callback.encoding.isolation import observe


class Meddler(nn.Module):
    """Does in its forward pass what an encode of a user's may do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.asleep = nn.Dropout(0.5).eval()
        self.mixed = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.mixed[1].eval()
        self.modes: list[bool] = []

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.modes = [part.training for part in self.modules()]
        random.random()
        np.random.random()  # noqa: NPY002
        torch.rand(3)
        torch.set_default_dtype(torch.float64)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        torch.set_grad_enabled(True)
        self.train()
        if not hasattr(self, "table"):
            self.register_buffer("table", torch.arange(4.0), persistent=False)
        torch.set_grad_enabled(False)
        self.eval()
        return self.norm(self.mixed(self.linear(rows)))


def state(module: nn.Module) -> dict[str, Any]:
    return {
        "modes": [part.training for part in module.modules()],
        "python": random.getstate(),
        "numpy": tuple(map(str, np.random.get_state())),  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "requires_grad": [parameter.requires_grad for parameter in module.parameters()],
        "buffers": [buffer.tolist() for name, buffer in module.named_buffers() if name != "table"],
    }


def test_everything_is_as_it_was() -> None:
    module = Meddler()
    before = state(module)
    with observe(module):
        rows = module(torch.ones(3, 4))
    assert state(module) == before
    assert not any(module.modes)
    assert not rows.requires_grad


def test_everything_is_as_it_was_after_an_exception() -> None:
    module = Meddler()
    before = state(module)

    def look() -> None:
        with observe(module):
            module(torch.ones(3, 4))
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        look()
    assert state(module) == before


def test_a_module_that_was_asleep_stays_asleep_and_its_own_train_is_not_called() -> None:
    class Stubborn(Meddler):
        calls = 0

        def train(self, mode: bool = True) -> "Stubborn":
            self.calls += 1
            return super().train(mode)

    module = Stubborn()
    module.calls = 0
    with observe(module):
        assert not any(part.training for part in module.modules())
    assert module.calls == 0
    assert [module.training, module.asleep.training, module.mixed[0].training, module.mixed[1].training] == [
        True,
        False,
        True,
        False,
    ]


def test_what_was_computed_under_lightnings_inference_mode_can_still_be_trained_on() -> None:
    module = Meddler()
    with torch.inference_mode(), observe(module):
        cached = module(torch.ones(3, 4))
    assert not cached.is_inference()
    assert not module.table.is_inference()
    nn.Linear(4, 1).double()(cached.double() * module.table.double()).sum().backward()


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_compiled_code_runs_eagerly_and_is_not_compiled_anew() -> None:
    graphs: list[int] = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(len(inputs))
        return graph.forward

    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    compiled = torch.compile(module, backend=count)
    compiled(torch.ones(2, 4))
    n_graphs = len(graphs)
    with observe(compiled):
        compiled(torch.ones(5, 4))
    compiled(torch.ones(2, 4))
    assert len(graphs) == n_graphs == 1
    assert compiled.training
    assert module.training
