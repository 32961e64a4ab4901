"""The floor is found once for a stack, even where its cache cannot be kept, and is the data's."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from training_configs import CPU, tiny

from wganbench.config import compose
from wganbench.data import DATASETS, Dataset, Options, build
from wganbench.metrics import cache
from wganbench.training.measuring import RebuiltSubject, measure_stack, stack_floor
from wganbench.training.stack import Stack


def test_a_cache_that_cannot_be_kept_costs_one_computation(monkeypatch):
    computed = []
    compute = cache.transport_floor

    def counted(*arguments):
        computed.append(arguments[1])
        return compute(*arguments)

    monkeypatch.setattr(cache, "transport_floor", counted)
    monkeypatch.setattr(cache, "floors_file", lambda: None)
    stack = Stack([tiny()], CPU)
    values = [measure_stack(stack, n)[0]["wasserstein/floor"] for n in (10, 10, 12, 12)]
    assert computed == [10, 12]
    assert values[0] == values[1] != values[2] == values[3]


@dataclasses.dataclass
class Scaled:
    scale: float
    shape = (2,)

    def sample(self, n, generator):
        return self.scale * torch.randn(n, 2, generator=generator)

    held_out = sample


def test_new_code_of_a_users_data_gets_a_new_floor(monkeypatch, tmp_path):
    monkeypatch.setattr(DATASETS, "_rows", dict(DATASETS._rows))
    monkeypatch.setattr(cache, "floors_file", lambda: tmp_path / "floors.json")
    computed = []
    compute = cache.transport_floor
    monkeypatch.setattr(
        cache, "transport_floor", lambda *given: computed.append(given) or compute(*given)
    )
    config = tiny()
    options = {"train_points": None, "train_seed": 0}
    config.data = dataclasses.replace(config.data, name="heart", kind="heart", options=options)
    floors = []
    for scale in (1.0, 1.0, 3.0):
        row = Dataset("heart", Options, lambda _, s=scale: Scaled(s), "a cloud", "ours")
        DATASETS._rows["heart"] = row
        floors.append(measure_stack(Stack([config], CPU), 10)[0]["wasserstein/floor"])
    assert floors[0] == floors[1] and len(computed) == 2, "equal code finds its floor again"
    assert floors[2] > 2 * floors[0], "the floor of the old code was used"


@pytest.mark.parametrize("name", ["ring8", "swiss_roll"])
def test_the_floor_beside_a_small_training_set_is_that_of_the_true_target(name, monkeypatch):
    def floor(*words):
        config = compose([f"data={name}", "loss=gp", "train.batch_size=16", *words])
        target = build(config.data.kind, config.data.options)
        return stack_floor(RebuiltSubject(config, target), config.evaluate.n)

    def computed(*_):
        raise AssertionError("it is shipped")

    monkeypatch.setattr(cache, "transport_floor", computed)
    assert floor("data.train_points=20", "data.train_seed=3") == floor()
