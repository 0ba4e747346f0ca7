"""Time of an epoch of adversarial training beside a naive loop, and its share of what the machine can do.

``python benchmarks/training.py [--network mnist-cnn|preact-resnet18|wide-resnet34] [--device cpu|cuda]``
trains on random images for a few steps, on CUDA for an epoch. Naive is the loop that tutorials show, in
float32: batches picked image by image by a data loader, an attack that backpropagates into the weights as
well, losses moved to the host every step. The roofline is the rate of a large matrix product, measured in the
same run; flops are counted by torch.
"""

import argparse
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from linphase import deep
from linphase.deep.checks import describe_device, find_device
from linphase.deep.models import model

SHAPES = {"mnist-cnn": (1, 28, 28), "preact-resnet18": (3, 32, 32), "wide-resnet34": (3, 32, 32)}
EXAMPLES = {"mnist-cnn": 60_000, "preact-resnet18": 50_000, "wide-resnet34": 50_000}
EPS, STEPS, BATCH = 8 / 255, 10, 128


def seconds(work, device, repeats=3):
    """Fastest of a few runs, by device events where there are any."""
    best = float("inf")
    for _ in range(repeats):
        if device.type == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            work()
            end.record()
            torch.cuda.synchronize()
            best = min(best, start.elapsed_time(end) / 1e3)
        else:
            begin = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - begin)
    return best


def naive_epoch(net, data, eps):
    optimiser = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    for x, y in DataLoader(TensorDataset(data.x.cpu(), data.y.cpu()), BATCH, shuffle=True):
        x, y = x.to(data.x.device), y.to(data.x.device)
        delta = torch.zeros_like(x)
        if eps > 0:
            delta.uniform_(-eps, eps)
            for _ in range(STEPS):
                delta.requires_grad_()
                cross_entropy(net((x + delta).clamp(0, 1)), y).backward()
                delta = (delta + eps / 4 * delta.grad.sign()).clamp(-eps, eps).detach()
        optimiser.zero_grad()
        loss = cross_entropy(net((x + delta).clamp(0, 1)), y)
        loss.backward()
        optimiser.step()
        loss.item()


def matrix_rate(device, dtype):
    size = 8192 if device.type == "cuda" else 1536
    a = torch.randn(size, size, device=device, dtype=dtype)
    a @ a
    return 2 * size**3 / seconds(lambda: a @ a, device, 10)


def operations(net, data, eps):
    """Flops of a step on one batch: each gradient, for the inputs or for the weights, costs a forward."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(data.x[:BATCH])
    return counter.get_total_flops() * (3 + (2 * STEPS if eps > 0 else 0))


def outside_operators(work):
    """Share of the wall time that no operator of torch accounts for: Python, the loop, the bookkeeping."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        begin = time.perf_counter()
        work()
        wall = time.perf_counter() - begin
    return 1 - sum(event.self_cpu_time_total for event in record.key_averages()) / 1e6 / wall


def variants(device, with_compiler):
    """Recipes that give the same numbers up to rounding, from plain to fast."""
    fast = device.type == "cuda"
    recipe = deep.Recipe(
        1, precision="bfloat16" if fast else "float32", channels_last=fast, select="last", monitor=False
    )
    found = {"plain": recipe}
    if fast:
        found["CUDA graph"] = recipe.but(cuda_graphs=True)
    if with_compiler:
        found["compiled"] = recipe.but(cuda_graphs=True, compile=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=SHAPES, default="mnist-cnn")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--steps", type=int, help="steps that are timed (default: 20, on CUDA an epoch)")
    parser.add_argument("--compile", action="store_true", help="time torch.compile as well")
    given = parser.parse_args()
    device, examples = find_device(given.device), EXAMPLES[given.network]
    n = BATCH * (given.steps or (-(-examples // BATCH) if device.type == "cuda" else 20))
    x, y = torch.rand(n, *SHAPES[given.network]), torch.randint(10, (n,))
    data = deep.Data("random", x, y, x[:1], y[:1], 10).to(device)
    few = data.subset(min(n, 20 * BATCH), 0)
    fast = device.type == "cuda"
    peak = matrix_rate(device, torch.bfloat16 if fast else torch.float32)
    print(f"{given.network} on {describe_device(device)}, {torch.get_num_threads()} threads, {n} images; an "
          f"epoch has {examples}; matrix product {peak / 1e12:.3g} Tflop/s")  # fmt: skip
    for name, eps in (("clean", 0.0), (f"PGD-{STEPS}", EPS)):
        net: nn.Module = model(given.network).to(device)
        flops = operations(net, data, eps) * examples / BATCH
        naive = seconds(lambda net=net, eps=eps: naive_epoch(net, few, eps), device) * examples / few.n
        print(f"{name:7s} naive       {naive:8.2f} s an epoch", flush=True)
        for variant, recipe in variants(device, given.compile).items():

            def ours(data=data, net=net, eps=eps, recipe=recipe):
                deep.train(net, data, recipe, eps)

            ours(data=few)  # warm: allocator, compiler
            time_of = seconds(ours, device, 1 if n >= examples else 3) * examples / n
            line = f"{name:7s} {variant:11s} {time_of:8.2f} s an epoch   naive {naive / time_of:5.2f} x"
            line += f"   {flops / time_of / peak:5.1%} of the matrix product"
            if device.type == "cpu":
                line += f"   outside operators {outside_operators(ours):.1%}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
