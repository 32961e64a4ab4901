"""The floor is found once for a stack, even where its cache cannot be kept."""

from __future__ import annotations

from training_configs import CPU, tiny

from wganbench.metrics import cache
from wganbench.training.measuring import measure_stack
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
