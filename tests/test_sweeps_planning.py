"""Jobs into stacks, stacks onto slots: sizes, groups, memory, the folder's name and ledger."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_configs import tiny

from wganbench.cli.sweep_view import print_plan
from wganbench.config import ConfigError, RunConfig, compose, run_id
from wganbench.config.jobs import Job
from wganbench.config.memory import bytes_needed, machine_bytes
from wganbench.files import RunLock
from wganbench.nativecode import find_compiler
from wganbench.networks import build_pair
from wganbench.runs.stored import Places
from wganbench.sweeps import estimate, launch, local, manifest
from wganbench.sweeps.backend import outcome_on_disk
from wganbench.sweeps.command import named
from wganbench.sweeps.cost import (
    BYTES_PER_SECOND,
    CONTEXT_BYTES,
    CONVOLUTION_BYTES,
    LAUNCH_SECONDS,
    PASSES,
    SAFETY,
    WORTH_OF_LAUNCHES,
    Footprint,
    Meter,
    footprint,
)
from wganbench.sweeps.estimate import estimate_seconds, gpu_step_seconds
from wganbench.sweeps.launch import (
    SweepPlan,
    check_sweep,
    plan_sweep,
    surely_fits,
    trains_alone,
)
from wganbench.sweeps.local import LocalBackend
from wganbench.sweeps.manifest import add_jobs, read_jobs
from wganbench.sweeps.plan import (
    CPU_LIMIT,
    Slot,
    StackPlan,
    balanced,
    group_jobs,
    local_slots,
    plan_stacks,
    stack_sizes,
    unfinished,
)
from wganbench.training.runs import train_runs
from wganbench.training.stack import Stack


def job(folder: Path, loss: str = "gp", **settings: Any) -> Job:
    config = tiny(loss, **settings)
    return Job(config, folder / run_id(config), (f"loss={loss}",))


def jobs(folder: Path, seeds: int, loss: str = "gp", **settings: Any) -> list[Job]:
    return [job(folder, loss, seed=seed, **settings) for seed in range(seeds)]


# Sizes.
@given(st.integers(1, 500), st.integers(1, 16), st.integers(1, 64))
def test_stacks_hold_every_run_once_fit_and_have_two_sizes_at_most(
    runs: int, parts: int, limit: int
) -> None:
    sizes = stack_sizes(runs, parts, limit)
    assert sum(sizes) == runs
    assert max(sizes) <= limit and min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == min(runs, max(parts, -(-runs // limit)))


def test_runs_share_a_stack_exactly_if_their_static_settings_and_step_agree(
    tmp_path: Path,
) -> None:
    like = [
        job(tmp_path, seed=0),
        job(tmp_path, seed=1, **{"loss.gp_lambda": 3.0, "train.critic_lr": 1e-4}),
        job(tmp_path, seed=2, device="cpu", name="elsewhere"),
    ]
    unlike = [
        job(tmp_path, "lp"),
        job(tmp_path, **{"train.batch_size": 32}),
        job(tmp_path, **{"loss.n_critic": 3}),
        job(tmp_path, precision="bf16"),
    ]
    groups = group_jobs([*like, *unlike], [0] * 7)
    assert [len(group.jobs) for group in groups] == [3, 1, 1, 1, 1]
    assert [len(group.jobs) for group in group_jobs(like, [0, 5, 0])] == [2, 1]
    assert [group.step for group in group_jobs(like, [0, 5, 0])] == [0, 5]


def test_a_group_is_divided_over_its_share_of_the_slots(tmp_path: Path) -> None:
    slots = [Slot("cpu", 1)] * 4
    short, long = jobs(tmp_path, 4), jobs(tmp_path, 4, **{"train.steps": 12})
    stacks = plan_stacks([*short, *long], [0] * 8, slots)
    assert [(len(s.jobs), s.steps_left) for s in stacks] == [(2, 12), (4, 4), (1, 12), (1, 12)]
    assert [len(stack.jobs) for stack in plan_stacks(short, [0] * 4, slots)] == [1] * 4
    several = [j for loss in ("gp", "lp", "clip", "bce") for j in jobs(tmp_path, 4, loss)]
    assert [len(stack.jobs) for stack in plan_stacks(several, [0] * 16, slots)] == [4] * 4


def test_no_core_is_idle_while_the_last_stack_trains(tmp_path: Path) -> None:
    three = [j for loss in ("gp", "lp", "wasserstein") for j in jobs(tmp_path, 10, loss)]

    def sizes(slots: list[Slot]) -> list[int]:
        return [len(stack.jobs) for stack in plan_stacks(three, [0] * 30, slots, [16] * 3)]

    assert sizes([Slot("cpu", 1)] * 2) == [10, 10, 5, 5]
    # On a GPU half a stack takes as long as a whole one.
    assert sizes([Slot("cuda:0", 1), Slot("cuda:1", 1)]) == [10, 10, 10]
    assert sizes([Slot("cpu", 1)]) == [10, 10, 10]


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 40)), min_size=1, max_size=6),
    st.integers(1, 8),
)
def test_balancing_keeps_the_runs_and_never_makes_a_sweep_longer(
    groups: list[tuple[int, int]], slots: int
) -> None:
    def longest(sizes: list[list[int]]) -> float:
        ends = [0.0] * slots
        works = [c * n for (c, _), own in zip(groups, sizes, strict=True) for n in own]
        for work in sorted(works, reverse=True):
            ends.sort()
            ends[0] += work
        return max(ends)

    before = [stack_sizes(runs, 1, 16) for _, runs in groups]
    after = balanced([cost for cost, _ in groups], before, slots)
    assert [sum(own) for own in after] == [runs for _, runs in groups]
    assert all(max(new) <= max(old) for new, old in zip(after, before, strict=True))
    assert longest(after) <= longest(before)
    assert after == before or longest(after) <= 0.9 * longest(before) * (1 + 1e-9)


def test_the_limit_of_a_group_is_kept(tmp_path: Path) -> None:
    stacks = plan_stacks(jobs(tmp_path, 10), [0] * 10, [Slot("cuda:0", 1)], [4])
    assert sorted(len(stack.jobs) for stack in stacks) == [3, 3, 4]


@pytest.mark.parametrize("outer", ["seed", "loss.gp_lambda"])
def test_each_stack_gets_its_share_of_every_coefficient(tmp_path: Path, outer: str) -> None:
    ways = list(itertools.product(range(6), (0.1, 1.0, 10.0, 100.0)))
    ways = ways if outer == "seed" else sorted(ways, key=lambda way: way[1])
    several = [job(tmp_path, seed=seed, **{"loss.gp_lambda": value}) for seed, value in ways]
    stacks = plan_stacks(several, [0] * 24, [Slot("cpu", 1)] * 2)
    for stack in stacks:
        found = Counter(job.config.loss.coefficients["gp_lambda"] for job in stack.jobs)
        assert found == {0.1: 3, 1.0: 3, 10.0: 3, 100.0: 3}
    assert {job.folder for stack in stacks for job in stack.jobs} == {j.folder for j in several}


def test_halves_are_a_whole(tmp_path: Path) -> None:
    (stack,) = group_jobs(jobs(tmp_path, 5), [3] * 5)
    one, two = stack.smaller()
    assert one.jobs + two.jobs == stack.jobs
    assert (len(one.jobs), len(two.jobs), one.step, two.step) == (2, 3, 3, 3)


# Slots.
@pytest.mark.parametrize(
    ("devices", "per_device", "gpus", "found"),
    [
        ("auto", 1, 0, ["cpu"] * 4),
        ("auto", 1, 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", 2, 2, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        (["cuda:2", "cuda:0", "cuda:2"], 1, 3, ["cuda:2", "cuda:0"]),
        (["cuda:1", "cpu"], 1, 2, ["cuda:1"] + ["cpu"] * 4),
    ],
)
def test_slots(devices: Any, per_device: int, gpus: int, found: list[str]) -> None:
    slots = local_slots(devices, per_device, gpus, cores=4)
    assert [slot.device for slot in slots] == found
    assert all(slot.threads == 1 for slot in slots if slot.device == "cpu")
    assert all(slot.threads >= 1 for slot in slots)


@pytest.mark.parametrize(
    ("devices", "gpus", "words"),
    [
        ("cuda", 0, "no CUDA GPU"),
        (["cuda:2"], 2, "has 2 GPU"),
        ("tpu", 2, "no device"),
        (["cuda:x"], 2, "no device"),
        ([], 2, "empty"),
    ],
)
def test_a_device_that_is_not_there_is_named(devices: Any, gpus: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        local_slots(devices, 1, gpus, cores=4)


# Memory and operations.
def test_the_meter_counts_what_is_alive_and_what_is_multiplied() -> None:
    with Meter() as meter:
        kept = torch.zeros(1000)
        for _ in range(5):
            torch.ones(500).sum()
        product = kept.reshape(10, 100) @ torch.zeros(100, 7)
    assert product.shape == (10, 7)
    assert meter.flops == 2 * 10 * 100 * 7
    assert 4 * (1000 + 700 + 70) <= meter.peak <= 4 * (1000 + 700 + 70) + 4000


def test_a_footprint_grows_with_the_runs_and_the_batch() -> None:
    small = footprint(tiny("gp"))
    larger = footprint(tiny("gp", **{"train.batch_size": 160}))
    assert 5 * small.flops < larger.flops < 11 * small.flops
    assert larger.run_bytes > 4 * small.run_bytes
    # A penalised step differentiates twice.
    assert footprint(tiny("wasserstein")).flops < small.flops


def test_convolutions_need_room_beside_their_tensors() -> None:
    config = compose(["data=digits", "network=dcgan8", "loss=gp", "train.batch_size=8"])
    pictures = footprint(config)
    assert CONVOLUTION_BYTES <= pictures.fixed_bytes <= 1.05 * CONVOLUTION_BYTES
    assert footprint(tiny("gp")).fixed_bytes < CONVOLUTION_BYTES / 100
    # On a GPU the patches are tensors, and there is no library.
    patches = footprint(config, gpu=True)
    assert patches.fixed_bytes < CONVOLUTION_BYTES / 100
    assert 1.1 * pictures.run_bytes < patches.run_bytes < 4 * pictures.run_bytes
    assert patches.flops == pytest.approx(pictures.flops, rel=0.1)
    assert footprint(tiny("gp"), gpu=True) == footprint(tiny("gp"))


def test_as_many_runs_fit_as_memory_holds() -> None:
    needs = Footprint(fixed_bytes=100, run_bytes=10, flops=1)
    assert needs.runs_that_fit(1300) == 90
    assert needs.runs_that_fit(0) == 1
    assert needs.runs_that_fit(CONTEXT_BYTES + 1300, gpu=True) == 90
    assert needs.runs_that_fit(CONTEXT_BYTES, gpu=True) == 1


def test_what_measuring_needs_counts_where_it_is_more() -> None:
    needs = Footprint(100, 10, flops=1, rest_bytes=3, probe_bytes=50, probed_runs=4)
    assert [needs.training_bytes(runs) for runs in (1, 20)] == [110, 300]
    assert [needs.measuring_bytes(runs, gpu=False) for runs in (1, 20)] == [153, 1160]
    # On a GPU four runs at a time: what that takes does not grow with the stack.
    assert [needs.measuring_bytes(runs, gpu=True) for runs in (1, 4, 20)] == [153, 312, 360]
    assert needs.bytes(20, gpu=False) == int(1160 * SAFETY)
    assert needs.bytes(20, gpu=True) == int(360 * SAFETY) + CONTEXT_BYTES
    for gpu in (False, True):
        for runs in (1, 2, 7, 100):
            assert needs.runs_that_fit(needs.bytes(runs, gpu), gpu) == runs
            assert needs.runs_that_fit(needs.bytes(runs, gpu) - 1, gpu) == max(1, runs - 1)


@pytest.mark.parametrize(
    "words", [["network.width=16"], ["data=digits", "network.width=4", "train.batch_size=8"]]
)
def test_what_measuring_needs_is_reckoned_up_from_few_points(words: list[str]) -> None:
    n = 700
    config = compose(["loss=gp", *words, f"evaluate.final_n={n}", "evaluate.n=20"])
    found = footprint(config)
    configs = [dataclasses.replace(config, compile="false", seed=seed) for seed in range(3)]
    with Meter() as meter:
        stack = Stack(configs, torch.device("cpu"))
        empty = meter.peak = meter.live
        stack.probe(n)
    library = CONVOLUTION_BYTES if "data=digits" in words else 0
    reckoned = found.measuring_bytes(3, gpu=False) - library
    assert meter.peak == pytest.approx(reckoned, rel=0.1)
    assert empty < 0.5 * meter.peak, "else that says little of measuring"


def test_a_stack_on_a_gpu_is_as_long_as_makes_it_faster() -> None:
    # A step moves PASSES times its bytes, 4 times as long as launches take.
    size = round(WORTH_OF_LAUNCHES * LAUNCH_SECONDS * BYTES_PER_SECOND / PASSES)
    assert [Footprint(0, size // runs, 1).runs_worth for runs in (1, 10, 240)] == [1, 10, 240]
    assert Footprint(0, 100 * size, 1).runs_worth == 1
    # What was measured on an H100: 64 runs of width 64 take each as long as 256 do.
    default = footprint(compose(["loss=gp", "network.width=64"]))
    assert 64 <= default.runs_worth <= 512

    def seconds(runs: int) -> float:
        config = tiny("gp", **{"loss.n_critic": 5})
        return gpu_step_seconds(config, default, runs, BYTES_PER_SECOND)

    assert seconds(1) == pytest.approx(1.1e-3, rel=0.1)
    assert seconds(64) == pytest.approx(1.9e-3, rel=0.2)
    assert seconds(256) == pytest.approx(4 * seconds(64), rel=0.05)


def test_what_our_kernel_trains_is_planned_by_what_it_was_measured_to_take() -> None:
    words = ["loss=gp", "tuned=none", "loss.n_critic=5"]
    config, narrow = (compose([*words, f"network.width={width}"]) for width in (64, 16))
    needed = footprint(config, gpu=True)
    assert needed.kernel and not footprint(config).kernel
    assert not footprint(compose([*words, "precision=tf32"]), gpu=True).kernel
    # Neither on a card without clusters nor for data that it cannot draw.
    assert not footprint(config, gpu=True, clusters=False).kernel
    assert not footprint(compose([*words, "network.width=64", "data=moons"]), gpu=True).kernel
    # All processors are taken several times: then one run costs as much as another.
    assert needed.runs_worth == 4 * 132
    found = {r: gpu_step_seconds(config, needed, r, BYTES_PER_SECOND) for r in (1, 64, 1024)}
    assert found == pytest.approx({1: 0.336e-3, 64: 0.798e-3, 1024: 12.0e-3}, rel=0.15)
    seconds = gpu_step_seconds(narrow, footprint(narrow, gpu=True), 64, BYTES_PER_SECOND)
    assert seconds == pytest.approx(0.184e-3, rel=0.15)


def test_a_run_alone_keeps_its_place_in_a_larger_stack(tmp_path: Path) -> None:
    """Its neighbours went on to other steps: the stack is as large as before, with empty places."""
    (one,) = jobs(tmp_path, 1)
    begun = StackPlan((one,), 3, Places(2, (1,)))
    assert trains_alone(StackPlan((one,), 3)) and trains_alone(
        replace(begun, places=Places(1, (0,)))
    )
    assert not trains_alone(begun)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("device", "device must be the same for all runs of a sweep; got cpu and auto"),
        ("sweep.max_stack", "sweep.max_stack must be the same .* got 0 and 4"),
    ],
)
def test_runs_of_a_sweep_agree_on_the_machine(tmp_path: Path, key: str, message: str) -> None:
    other = {"device": "auto", "sweep.max_stack": 4}[key]
    mixed = [job(tmp_path), job(tmp_path, seed=1, **{key: other})]
    with pytest.raises(ConfigError, match=message):
        check_sweep(tmp_path, mixed)


def test_what_our_cpp_trains_is_not_measured_where_it_fits_many_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To measure a run imports torch's compiler, which takes longer than all of planning."""
    cpu, gpu = [Slot("cpu", 1)], [Slot("cuda:0", 1)]
    monkeypatch.setattr(launch, "native_trains", lambda config: True)
    config = tiny("gp")
    pair = build_pair("mlp", config.network.options, (2,), "fp32", 1)
    least = CPU_LIMIT * launch.TIMES_THE_BOUND * bytes_needed(config, (2,), pair)
    assert surely_fits(config, cpu, lambda: least + 1)
    assert not surely_fits(config, cpu, lambda: least)
    assert not surely_fits(config, gpu, lambda: 2 * least)
    bounded = tiny("gp", **{"sweep.max_stack": 4})
    assert not surely_fits(bounded, cpu, lambda: 2 * least), "that is the user's word"
    monkeypatch.setattr(launch, "native_trains", lambda config: False)
    assert not surely_fits(config, cpu, lambda: 2 * least)


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler here")
def test_a_sweep_of_our_cpp_imports_no_compiler_of_torch(tmp_path: Path) -> None:
    """Neither where it is planned nor where its workers are forked; an estimate is for --plan."""
    code = f"""
import sys
from wganbench.sweeps import command, fork_server
command.estimate_seconds = lambda plan: None
command.plan_only(["loss=gp", "seed=0,1", "train.steps=5000", "output_dir={tmp_path}"])
fork_server.import_all()
heavy = ("torch._dynamo", "torch._inductor.compile_fx", "ot")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_the_message_names_the_key_that_asks_for_the_device() -> None:
    for key in ("device", "sweep.devices"):
        with pytest.raises(ConfigError, match=rf"^{key}=cuda:3: this machine has 2 GPU"):
            local_slots("cuda:3", 1, gpus=2, cores=4, key=key)


def test_the_room_of_a_cpu_is_the_memory_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "machine_bytes", lambda swap: 1000 if not swap else 5000)
    two = [Slot("cpu", 1)] * 2
    assert LocalBackend().room(two) == 500
    assert machine_bytes(swap=False) <= machine_bytes()


@pytest.mark.slow
def test_the_time_of_images_on_a_gpu_is_what_was_measured() -> None:
    config = compose(["data=digits", "loss=gp", "tuned=none"])
    needed = footprint(config, gpu=True)
    assert 16 <= needed.runs_worth <= 40
    measured = {1: 1.26e-3, 4: 2.18e-3, 16: 5.79e-3}
    found = {r: gpu_step_seconds(config, needed, r, BYTES_PER_SECOND) for r in measured}
    assert found == pytest.approx(measured, rel=0.45)


@pytest.mark.parametrize("full", [True, False])
def test_a_plan_for_a_gpu_that_is_full_has_no_time(
    full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copying(device: str) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory.") if full else RuntimeError("no driver")

    monkeypatch.setattr(estimate, "copy_rate", copying)
    needed = Footprint(fixed_bytes=0, run_bytes=10**6, flops=10**8)
    stack, slots = StackPlan((Job(tiny("gp"), tmp_path / "a"),), 0), (Slot("cuda:0", 1),)
    plan = SweepPlan(LocalBackend(), stack.jobs, (stack,), slots, lambda _: needed)
    if full:
        assert estimate_seconds(plan) is None
    else:
        with pytest.raises(RuntimeError, match="no driver"):
            estimate_seconds(plan)


def test_a_plan_for_a_gpu_tells_memory_runs_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Of digits, of which as many fit as could not be measured at once."""
    slots = [Slot("cuda:0", 1)]
    monkeypatch.setattr(LocalBackend, "slots", lambda self, config: slots)
    monkeypatch.setattr(local, "free_bytes", lambda slot, slots: 78 * 2**30)
    monkeypatch.setattr(estimate, "copy_rate", lambda device: 3e12)
    config = compose(["data=digits", "loss=gp", "train.steps=2000"])
    many = [Job(dataclasses.replace(config, seed=seed), tmp_path / str(seed)) for seed in range(90)]
    plan = plan_sweep(many, LocalBackend())
    sizes, needed = [len(stack.jobs) for stack in plan.stacks], plan.footprint_of(plan.stacks[0])
    assert sum(sizes) == 90 and max(sizes) - min(sizes) <= 1
    assert max(sizes) <= needed.runs_worth < needed.runs_that_fit(78 * 2**30, gpu=True)
    assert needed.bytes(max(sizes), gpu=True) < 78 * 2**30
    seconds = estimate_seconds(plan)
    assert seconds is not None
    print_plan(plan, seconds)
    shown = capsys.readouterr().out
    training, measuring = (
        f"{size / 1e6:.0f} MB"
        for size in (needed.training_bytes(sizes[0]), needed.measuring_bytes(sizes[0], gpu=True))
    )
    assert all(words in shown for words in ("to train", training, measuring, "estimated time"))
    assert str(sizes[0]) in shown and "cuda:0" in shown
    # And where less is free, as many as are trained and measured in it.
    monkeypatch.setattr(local, "free_bytes", lambda slot, slots: needed.bytes(10, gpu=True))
    assert max(len(stack.jobs) for stack in plan_sweep(many, LocalBackend()).stacks) == 10


def test_a_plan_is_cut_to_the_memory_of_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = [Slot("cuda:0", 1), Slot("cuda:1", 1)]
    monkeypatch.setattr(LocalBackend, "slots", lambda self, config: slots)
    monkeypatch.setattr(local, "free_bytes", lambda slot, slots: CONTEXT_BYTES + 1000)
    monkeypatch.setattr(launch, "footprint", lambda *_: Footprint(0, 250, 10**6))
    plan = plan_sweep(jobs(tmp_path, 10), LocalBackend())
    assert [len(stack.jobs) for stack in plan.stacks] == [3, 3, 2, 2]
    chosen = plan_sweep(jobs(tmp_path, 10, **{"sweep.max_stack": 5}), LocalBackend())
    assert [len(stack.jobs) for stack in chosen.stacks] == [5, 5]


def test_what_trains_alone_is_measured_only_for_a_plan_that_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study of 660 networks spent ten minutes on measuring each of them."""
    measured = []

    def counted(config: RunConfig, gpu: bool, clusters: bool) -> Footprint:
        measured.append(config.network.options["width"])
        return Footprint(0, 250, 10**6)

    monkeypatch.setattr(launch, "footprint", counted)
    alone = [job for width in (8, 16, 24)
             for job in jobs(tmp_path, 1, **{"network.width": width})]  # fmt: skip
    plan = plan_sweep([*alone, *jobs(tmp_path, 2, **{"network.width": 32})], LocalBackend())
    assert measured == [32]
    assert estimate_seconds(plan) and sorted(measured) == [8, 16, 24, 32]


def test_the_estimate_follows_the_work_and_the_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "product_rate", lambda: 1e11)

    def seconds(steps: int, slots: int) -> float:
        stacks = plan_stacks(
            jobs(tmp_path, 8, **{"train.steps": steps}), [0] * 8, [Slot("cpu", 1)] * slots
        )
        prints = {stacks[0].group: Footprint(0, 1, 10**9)}
        plan = SweepPlan(
            LocalBackend(),
            (),
            tuple(stacks),
            tuple([Slot("cpu", 1)] * slots),
            lambda stack: prints[stack.group],
        )
        return estimate_seconds(plan)

    assert 1.3 * seconds(1000, 1) < seconds(2000, 1) < 2 * seconds(1000, 1)
    assert 1.3 * seconds(2000, 2) < seconds(2000, 1) < 2 * seconds(2000, 2)


def test_our_cpp_is_expected_to_be_faster_and_to_compile_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "product_rate", lambda: 1e11)
    monkeypatch.setattr(estimate, "measuring_seconds", lambda config, steps: 0.0)

    def seconds(steps: int, reason: str) -> float:
        monkeypatch.setattr(estimate, "native_trains", lambda _, reason=reason: not reason)
        own = jobs(tmp_path, 1, **{"train.steps": steps, "compile": "true"})
        slot = Slot("cpu", 1)
        stacks = plan_stacks(own, [0], [slot])
        prints = {stacks[0].group: Footprint(0, 1, 9 * 10**8)}
        return estimate_seconds(
            SweepPlan(LocalBackend(), (), tuple(stacks), (slot,), lambda stack: prints[stack.group])
        )

    native = seconds(1000, "") - estimate.STARTING_SECONDS
    assert native == pytest.approx(1000 * 9e8 / (estimate.NATIVE_REACHED * 1e11))
    compiled = seconds(1000, "a reason") - estimate.STARTING_SECONDS
    assert compiled > native * estimate.NATIVE_REACHED / estimate.REACHED
    assert compiled - 1000 * 9e8 / (estimate.REACHED * 1e11) > estimate.COMPILING_SECONDS


def test_the_estimate_counts_evaluations_by_their_squares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "find_compiler", lambda: "g++")

    def distances(steps: int, **settings: object) -> float:
        asked = {"evaluate.n": 1000, "evaluate.final_n": 2000} | settings
        seconds = estimate.measuring_seconds(tiny("gp", **asked), steps)
        return (seconds - estimate.DRAWING_SECONDS) / estimate.EVALUATION_SECONDS

    assert distances(1000, **{"evaluate.every_n_steps": 0}) == pytest.approx(4)
    # At steps 0, 500 and 1000, and four times as long at the end.
    assert distances(1000, **{"evaluate.every_n_steps": 500}) == pytest.approx(3 + 4)
    assert distances(1000, **{"evaluate.every_n_steps": 0, "evaluate.final_draws": 5}) == (
        pytest.approx(20)
    )
    pictures = compose(["data=digits", "loss=gp"])
    assert estimate.measuring_seconds(pictures, 1000) == estimate.DRAWING_SECONDS


# Names.
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["loss=bce,gp", "seed=0,1"], None),
        (["experiment=lambda_sweep"], "lambda_sweep"),
        (["experiment=glob(arm_*)"], "sweep"),
        (["data=ring8,grid25"], "sweep"),
        (["data=grid25"], None),
        (["experiment=lambda_sweep", "name=mine"], "mine"),
    ],
)
def test_a_sweep_has_one_folder(arguments: list[str], name: str | None) -> None:
    given_names = [text for text in named(arguments) if text.startswith("name=")]
    assert given_names == ([f"name={name}"] if name else [])


# The ledger.
def test_every_job_comes_back_from_the_ledger(tmp_path: Path) -> None:
    written = [*jobs(tmp_path, 2), job(tmp_path, "clip", **{"loss.clip_value": float("inf")})]
    add_jobs(tmp_path, written)
    assert read_jobs(tmp_path) == written
    add_jobs(tmp_path, [*jobs(tmp_path, 4), written[2]])
    assert [j.folder for j in read_jobs(tmp_path)] == [
        *(j.folder for j in written),
        *(j.folder for j in jobs(tmp_path, 4)[2:]),
    ]


def test_there_is_no_sweep_in_an_empty_folder(tmp_path: Path) -> None:
    assert read_jobs(tmp_path) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99, "jobs": []}'])
def test_a_damaged_ledger_is_told_in_a_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(ConfigError, match="sweep.json"):
        read_jobs(tmp_path)


def test_a_ledger_is_strict_json(tmp_path: Path) -> None:
    add_jobs(tmp_path, [job(tmp_path, "clip", **{"loss.clip_value": float("inf")})])
    text = (tmp_path / "sweep.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["jobs"][0]["folder"]


def test_other_settings_are_refused_and_more_values_are_not(tmp_path: Path) -> None:
    add_jobs(tmp_path, jobs(tmp_path, 2))
    with pytest.raises(ConfigError, match=r"train\.steps=4, this one has 8.*name="):
        check_sweep(tmp_path, jobs(tmp_path, 2, **{"train.steps": 8}))
    with pytest.raises(ConfigError, match=r"loss\.gp_lambda=10"):
        check_sweep(tmp_path, [job(tmp_path, seed=0, **{"loss.gp_lambda": 7.0})])
    # A key that one of the two varies may have any value in the other.
    two = [job(tmp_path, seed=0, **{"loss.gp_lambda": value}) for value in (1.0, 2.0)]
    check_sweep(tmp_path, two)
    add_jobs(tmp_path, two)
    check_sweep(tmp_path, [job(tmp_path, seed=9, **{"loss.gp_lambda": 7.0})])


def test_another_loss_with_its_own_rates_joins_a_sweep(tmp_path: Path) -> None:
    add_jobs(tmp_path, jobs(tmp_path, 2, "gp"))
    check_sweep(tmp_path, jobs(tmp_path, 2, "clip", **{"train.critic_lr": 1e-4}))
    with pytest.raises(ConfigError, match="precision"):
        check_sweep(tmp_path, jobs(tmp_path, 2, "clip", precision="bf16"))


def test_one_run_cannot_be_two_jobs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="same run"):
        check_sweep(tmp_path, [*jobs(tmp_path, 2), *jobs(tmp_path, 1)])


# What is left.
def test_finished_runs_are_left_alone_and_begun_ones_go_on_from_their_step(
    tmp_path: Path,
) -> None:
    every = jobs(tmp_path, 3, **{"checkpoint.every_n_steps": 1})
    train_runs([every[0].config], [every[0].folder])
    left, steps = unfinished(every)
    assert (left, steps) == (every[1:], [0, 0])
    assert [outcome_on_disk(j).status for j in every] == ["completed", "interrupted", "interrupted"]
    afresh = dataclasses.replace(every[0].config, overwrite=True)
    again = dataclasses.replace(every[0], config=afresh)
    assert unfinished([again]) == ([again], [0])


def test_a_stack_that_starts_afresh_once_goes_on_when_it_is_halved(tmp_path: Path) -> None:
    (stack,) = group_jobs(jobs(tmp_path, 5, overwrite=True), [0] * 5)
    assert all(job.config.overwrite for job in stack.jobs)
    first, second = stack.smaller()
    assert len(first.jobs) == 2 and len(second.jobs) == 3
    assert not any(job.config.overwrite for job in (*first.jobs, *second.jobs))
    assert [job.folder for job in (*first.jobs, *second.jobs)] == [j.folder for j in stack.jobs]


def test_processes_that_enter_jobs_at_once_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = jobs(tmp_path, 3)
    held = RunLock(tmp_path / ".sweep.lock")
    threading.Timer(0.3, held.release).start()
    add_jobs(tmp_path, every)
    assert [job.folder for job in read_jobs(tmp_path)] == [job.folder for job in every]
    monkeypatch.setattr(manifest, "PATIENCE_SECONDS", 0.1)
    with RunLock(tmp_path / ".sweep.lock"), pytest.raises(ConfigError, match="in use"):
        add_jobs(tmp_path, every)
