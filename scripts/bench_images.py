"""How fast an image run trains, against the loop that everybody writes, in one process.

    python scripts/bench_images.py

WGAN-GP, DCGAN for 28 x 28 pixels (two convolutions of 64 and 128 channels), batch 64,
n_critic 5, on digits enlarged to 28 x 28. Sides alternate, and each figure is a median
over the repeats, because the machine is shared; ratios are what counts. Times are the
process's own CPU time with ``--cpu-time``, for a machine that others use at the same time.
First it checks that both sides reach the same loss. The share of the data path is that of drawing
reals, latents and mixing weights for the critic's steps, a whole block of them, in our iteration.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from textbook import TextbookGAN, dcgan_critic, dcgan_generator, same_loss
from torch import Tensor, nn

from wganbench.bounds import AHEAD_STEPS
from wganbench.config import RunConfig, compose
from wganbench.data import image_files, images
from wganbench.networks import initial_parameters
from wganbench.training.device import fitting_cpu
from wganbench.training.graphs import CRITIC_STREAMS
from wganbench.training.stack import Stack

BATCH, N_CRITIC, LATENT, RATE, BETAS = 64, 5, 100, 1e-4, (0.0, 0.9)
SIZE = 28


def enlarge(load: Callable[..., images.Images]) -> Callable[..., images.Images]:
    """The loader of digits with images of 28 x 28."""

    def resized(pictures: Tensor) -> Tensor:
        large = F.interpolate(pictures.float(), size=(SIZE, SIZE), mode="bilinear")
        return large.round().to(torch.uint8)

    def enlarged(*options: object) -> images.Images:
        small = load(*options)
        return images.Images(resized(small.images), resized(small.held_out_images), top=small.top)

    return enlarged


def config(width: int, seed: int, precision: str, compile_: str) -> RunConfig:
    return compose(
        [
            *["data=digits", "network=dcgan28", "loss=gp", "tuned=none", "loss.gp_lambda=10"],
            *[f"network.width={width}", f"network.latent_dim={LATENT}", f"seed={seed}"],
            *[f"train.batch_size={BATCH}", f"loss.n_critic={N_CRITIC}", "train.decay=none"],
            *[f"train.critic_lr={RATE}", f"train.generator_lr={RATE}"],
            *[f"train.betas=[{BETAS[0]},{BETAS[1]}]", "train.steps=1000000"],
            *[f"precision={precision}", f"compile={compile_}", "device=cpu"],
        ]
    )


def textbook(width: int) -> TextbookGAN:
    torch.manual_seed(0)
    target, draw = image_files.load_digits(0.2, 0), torch.Generator().manual_seed(0)
    modules = dcgan_critic(width), dcgan_generator(LATENT, width)
    for module in modules:
        start(module, draw)
    return TextbookGAN(
        *modules,
        LATENT,
        lambda n: target.sample(n, draw),
        batch_size=BATCH,
        n_critic=N_CRITIC,
        gp_lambda=10.0,
        critic_lr=RATE,
        generator_lr=RATE,
        betas=BETAS,
    )


def start(module: nn.Module, generator: torch.Generator) -> None:
    """DCGAN's own start, as on our side."""
    values = initial_parameters(module, "normal", generator)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(values[name])


def milliseconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    work()
    return (clock() - begin) * 1e3


def drawing(stack: Stack, clock: Callable[[], float]) -> float:
    """Milliseconds a run in which an iteration's batches for the critic are drawn."""
    steps, n, samplers = range(AHEAD_STEPS), stack.config.train.batch_size, stack.samplers

    def ahead() -> None:
        for stream in CRITIC_STREAMS:
            stack.streams.draw(samplers[stream], stream, steps, n)

    return milliseconds(ahead, clock) * N_CRITIC / AHEAD_STEPS / len(stack.configs)


def convolutions_alone(loop: TextbookGAN, clock: Callable[[], float]) -> float:
    """Milliseconds of the convolutions that an iteration cannot do without, each as oneDNN does it.

    A critic step takes each of its layers forward for reals, fakes and interpolates and for the
    penalty's tangent, three times to the weights, and three times to the inputs, but once where
    the inputs are images. A generator step takes each layer forward, to inputs, and the
    generator's to weights.
    """
    total = 0.0
    pixels = torch.randn(BATCH, 1, SIZE, SIZE)
    latents = torch.randn(BATCH, LATENT)
    for network, given, of_critic in (
        (loop.critic, pixels, True),
        (loop.generator, latents, False),
    ):
        x = given
        for layer in network:
            y = layer(x).detach()
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                forward, back, weights = (N_CRITIC + 1, 1, 1)
                if of_critic:
                    forward = 4 * N_CRITIC + 1
                    back, weights = (1 if x is given else 3) * N_CRITIC + 1, 3 * N_CRITIC
                for times, work in zip(
                    (forward, back, weights), parts_of(layer, x, y), strict=True
                ):
                    total += times * statistics.median(milliseconds(work, clock) for _ in range(7))
            x = y
    return total


def parts_of(layer: nn.Module, x: Tensor, y: Tensor) -> list[Callable[[], object]]:
    """A convolution forward, to its inputs and to its weights."""
    transposed, weight = isinstance(layer, nn.ConvTranspose2d), layer.weight.detach()
    how = ([2, 2], [1, 1], [1, 1], transposed, [0, 0], 1)

    def backward(*wanted: bool) -> Callable[[], object]:
        return lambda: torch.ops.aten.convolution_backward(y, x, weight, None, *how, wanted)

    forward = partial(torch.ops.aten.convolution, x, weight, None, *how)
    return [forward, backward(True, False, False), backward(False, True, False)]


def bench(
    width: int, repeats: int, sides: list[tuple[int, str, str]], clock: Callable[[], float]
) -> None:
    loop = textbook(width)
    loop.iterate()
    stacks = {}
    for runs, precision, compile_ in sides:
        configs = [config(width, seed, precision, compile_) for seed in range(runs)]
        stack = Stack(configs, torch.device("cpu"))
        stack.iterate()
        stack.iterate()
        stacks[runs, precision, compile_] = stack
    base: list[float] = []
    times: dict[tuple[int, str, str], list[float]] = {side: [] for side in stacks}
    for _ in range(repeats):
        base.append(milliseconds(loop.iterate, clock))
        for side, stack in stacks.items():
            with fitting_cpu(stack):
                times[side].append(milliseconds(stack.iterate, clock) / side[0])
    whole, least = statistics.median(base), convolutions_alone(loop, clock)
    print(f"width {width}: textbook loop {whole:.1f} ms an iteration")
    print(f"  fp32 convolutions alone: {least:.1f} ms, {whole / least:.2f}x")
    for (runs, precision, compile_), measured in times.items():
        ratio = statistics.median(t / o for t, o in zip(base, measured, strict=True))
        data = drawing(stacks[runs, precision, compile_], clock) / statistics.median(measured)
        how = "compiled" if compile_ == "true" else "eager"
        print(
            f"  {runs} run{'s' if runs > 1 else ' '} {precision} {how:8}: "
            f"{statistics.median(measured):7.1f} ms a run, {ratio:5.2f}x, "
            f"data path {data:.1%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--loss-steps", type=int, default=60, help="0: no comparison of losses")
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--compile", nargs="+", default=["true"], choices=["true", "false"])
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    image_files.load_digits = enlarge(image_files.load_digits)
    if arguments.loss_steps:
        alone = Stack([config(arguments.width, 0, "fp32", "false")], torch.device("cpu"))
        same_loss(textbook(arguments.width), alone, arguments.loss_steps)
    sides = [
        (runs, precision, compile_)
        for runs in arguments.runs
        for precision in arguments.precisions
        for compile_ in arguments.compile
    ]
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    bench(arguments.width, arguments.repeats, sides, clock)


if __name__ == "__main__":
    main()
