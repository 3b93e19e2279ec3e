"""The training's own loss between two evaluations."""

import math

import pytest
import torch

from embviz_callback.delivery.run.training_loss import TrainingLoss


def test_the_mean_since_it_was_taken_is_taken_once() -> None:
    seen = TrainingLoss()
    weight = torch.tensor(2.0, requires_grad=True)
    for loss in ({"loss": weight * 1.0, "extra": 9}, weight * 2.0, 3.0):
        seen.see(loss)
    assert seen.taken() == pytest.approx(3.0)
    assert math.isnan(seen.taken())


def test_what_is_no_loss_is_left_aside() -> None:
    seen = TrainingLoss()
    for nothing in (None, {}, {"loss": None}, torch.zeros(3), True, "much"):
        seen.see(nothing)
    assert math.isnan(seen.taken())
