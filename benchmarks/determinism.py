"""Where the bits move, and what each level of determinism costs: docs/determinism.md.

    .venv/bin/python benchmarks/determinism.py               # both tables
    .venv/bin/python benchmarks/determinism.py operations    # operation by operation
    .venv/bin/python benchmarks/determinism.py price         # rows a second of each level
    .venv/bin/python benchmarks/determinism.py --processors  # one training on emulated processors

Every setting runs in separate processes, because libraries read it when they are loaded.
Processors of two makers are emulated by `qemu-x86_64` (Debian: qemu-user) where it is installed.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from refit.core import determinism

if TYPE_CHECKING:
    from refit.data.prepared import Arrays
    from refit.models.network import NetworkParams

ROOT = Path(__file__).resolve().parent.parent
THREADS = (1, 2, 4)
PROCESSORS = ("Haswell", "EPYC-Milan")
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "threads": determinism.settings("threads"),
    "any-x86": determinism.settings("any-x86"),
}
ROWS, NUMERIC, CARDINALITIES = 188_966, 48, (17, 5, 97, 28)
STEPS, ROUNDS, WARM = 20, 15, 3
PATIENCE = 900.0
"""Seconds after which the price is computed from the pairs measured so far."""
FOREIGN = 0.1
"""Processor seconds of other programs in a second, above which a pair is measured again."""
TICKS = 0.02
"""Seconds by which the two clocks may differ."""

SEED = 2013

Work = Callable[[], Any]
Way = tuple[str, int]


def main() -> None:
    """Print the tables that the arguments ask for."""
    parser = argparse.ArgumentParser(description="Where the bits move, and what a level costs.")
    parser.add_argument("part", nargs="?", choices=["operations", "price"])
    parser.add_argument("--processors", action="store_true", help="one training, emulated")
    arguments = parser.parse_args()
    if arguments.processors:
        processors()
        return
    if arguments.part != "price":
        operations()
    if arguments.part != "operations":
        price()


def emulators() -> dict[str, list[str]]:
    """The command before Python's own for each emulated processor; empty without QEMU."""
    qemu = shutil.which("qemu-x86_64")
    return {name: [qemu, "-cpu", name] for name in PROCESSORS} if qemu else {}


def environment(settings: dict[str, str], threads: int) -> dict[str, str]:
    """This environment with only these settings of numerical libraries."""
    known = {key for level in determinism.LEVELS for key in determinism.settings(level)}
    plain = {key: value for key, value in os.environ.items() if key not in known}
    count = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    return plain | settings | count | {determinism.THREADS: str(threads)}


# Operation by operation.


def operations() -> None:
    """A table: whether an operation has the same bits on all thread counts and processors."""
    results: dict[tuple[str, str], dict[str, str]] = {}
    for name, settings in SETTINGS.items():
        for threads in THREADS:
            results[name, str(threads)] = digests([], environment(settings, threads))
        for processor, command in emulators().items():
            results[name, processor] = digests(command, environment(settings, 1))
    heads = [f"{name}: {what}" for name in SETTINGS for what in ("1, 2, 4", "makers")]
    print(f"| Operation | {' | '.join(heads)} |\n| --- |{' --- |' * len(heads)}")
    for operation in results["default", "1"]:
        cells = []
        for name in SETTINGS:
            bits = {key: each[operation] for (s, key), each in results.items() if s == name}
            cells += [verdict(bits, map(str, THREADS)), verdict(bits, ["1", *emulators()])]
        print(f"| {operation} | {' | '.join(cells)} |", flush=True)
    print()


def verdict(bits: dict[str, str], keys: Iterable[str]) -> str:
    """`same`, or the keys that differ from the first; a dash when there is nothing to compare."""
    first, *others = keys
    differing = [other for other in others if bits[other] != bits[first]]
    if not others:
        return "-"
    return f"**{', '.join(differing)}**" if differing else "same"


def digests(command: list[str], variables: dict[str, str]) -> dict[str, str]:
    """The digest of each operation's result, computed in a new process."""
    done = subprocess.run(
        [*command, sys.executable, __file__, "--child", "operations"],
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=None if command == [] else subprocess.DEVNULL,
        check=True,
    )
    result: dict[str, str] = json.loads(done.stdout)
    return result


def compute() -> None:
    """In the child: compute every operation and print the digests."""
    import hashlib

    import numpy as np
    import torch

    torch.set_num_threads(int(os.environ[determinism.THREADS]))
    results = {}
    for name, work in probes():
        result = work()
        parts = result if isinstance(result, (list, tuple)) else [result]
        whole = hashlib.sha256()
        for part in parts:
            array = part.detach().numpy() if isinstance(part, torch.Tensor) else np.asarray(part)
            whole.update(np.ascontiguousarray(array).tobytes())
        results[name] = whole.hexdigest()[:16]
    print(json.dumps(results))


def uniform(*shape: int) -> Any:
    """Uniform in +-4, from integers: the same on every processor."""
    import numpy as np
    import torch

    drawn = np.random.default_rng(list(shape)).random(shape, dtype=np.float32)
    return torch.from_numpy(drawn * 8 - 4)


def probes() -> Iterator[tuple[str, Work]]:
    """Each operation's name and how to compute it; large enough for several threads."""
    yield from products()
    yield from functions()
    yield from reductions()
    yield from steps()
    yield from random_numbers()


def products() -> Iterator[tuple[str, Work]]:
    """Matrix products of torch (MKL), of NumPy (OpenBLAS), and of this project."""
    import numpy as np
    import threadpoolctl
    import torch

    from refit.training import linear_layer

    sizes = {
        "multiples of 64": (1024, 448, 192),
        "the network's sizes": (1024, 488, 192),
        "its gradient": (192, 1024, 488),
        "odd sizes": (1001, 457, 191),
    }
    openblas = threadpoolctl.ThreadpoolController().select(internal_api="openblas")

    def ours(a: Any, b: Any) -> Any:
        with openblas.limit(limits=1):
            linear_layer.use("any-x86", int(os.environ[determinism.THREADS]))
            return linear_layer.multiply(a, b)

    for label, (m, k, n) in sizes.items():
        a, b = uniform(m, k), uniform(k, n)
        yield f"product by MKL, {label}", partial(torch.matmul, a, b)
        yield f"product by OpenBLAS, {label}", partial(np.matmul, a.numpy(), b.numpy())
        yield f"product by OpenBLAS cut at tiles, {label}", partial(ours, a, b)


def functions() -> Iterator[tuple[str, Work]]:
    """Functions of single elements and of rows."""
    import numpy as np
    import torch
    from torch.nn import functional

    x, rows = uniform(200_003), uniform(1001, 193)
    target = torch.arange(1001) % 193
    named: dict[str, Callable[[Any], Any]] = {
        "SiLU": functional.silu,
        "GELU": functional.gelu,
        "sigmoid": torch.sigmoid,
        "log-sigmoid": functional.logsigmoid,
        "exp": torch.exp,
        "tanh": torch.tanh,
    }
    for name, function in named.items():
        yield name, partial(function, x)
    yield "SiLU's gradient", lambda: gradients(functional.silu, x)
    yield "log", lambda: torch.log(x.abs())
    yield "square root", lambda: torch.sqrt(x.abs())
    yield "division", lambda: x / 3.7
    yield "NumPy's exp", lambda: np.exp(x.numpy())
    yield "softmax", lambda: torch.softmax(rows, 1)
    yield "cross-entropy", lambda: functional.cross_entropy(rows, target)
    yield "LayerNorm", lambda: functional.layer_norm(rows, (193,))


def reductions() -> Iterator[tuple[str, Work]]:
    """Sums."""
    import torch
    from torch.nn import functional

    big, batch = uniform(1024, 192), uniform(1024)
    codes = (uniform(1024, 6).abs() * 30).long()
    scale, table = torch.ones(192), uniform(128, 8)
    yield "mean of a batch's losses", batch.mean
    yield "sum of 196,608 elements", big.sum
    yield "sums of columns", lambda: big.sum(0)
    yield (
        "LayerNorm's gradient of weights",
        lambda: gradients(lambda s: functional.layer_norm(big, (192,), s), scale),
    )
    yield (
        "gradient of an embedding",
        lambda: gradients(lambda t: functional.embedding(codes, t), table),
    )
    yield (
        "norm of all gradients",
        lambda: torch.nn.utils.get_total_norm([big, batch, uniform(192, 488)]),
    )


def steps() -> Iterator[tuple[str, Work]]:
    """Optimizers."""
    for name, fused in (("AdamW, fused", True), ("AdamW, plain", False)):
        yield name, partial(adamw, fused=fused)


def random_numbers() -> Iterator[tuple[str, Work]]:
    """Random numbers."""
    import torch
    from torch.nn import functional

    from refit.models.model import Shape
    from refit.models.network import Network, dropout_mask

    def drawn(work: Work) -> Work:
        def seeded() -> Any:
            torch.manual_seed(1)
            return work()

        return seeded

    shape = Shape(numeric=NUMERIC, cardinalities=CARDINALITIES, outputs=1)
    settings = settings_of_training()
    ones = torch.ones(1024, 192)
    yield "shuffle (randperm)", drawn(lambda: torch.randperm(ROWS))
    yield "dropout of torch", drawn(lambda: functional.dropout(ones, 0.25))
    yield "dropout's mask of ours", drawn(lambda: dropout_mask(ones.shape, 0.25))
    yield "normal start (randn)", drawn(lambda: torch.randn(192, 488))
    yield "starting weights of ours", lambda: list(Network(shape, settings).state_dict().values())


def gradients(function: Callable[[Any], Any], x: Any) -> Any:
    """The gradient of the outputs' weighted sum."""
    leaf = x.clone().requires_grad_()
    result = function(leaf)
    result.backward(uniform(*result.shape))
    return leaf.grad


def adamw(*, fused: bool) -> Any:
    """A matrix after three steps."""
    import torch

    weights = uniform(192, 488).requires_grad_()
    optimizer = torch.optim.AdamW([weights], lr=0.002, weight_decay=0.1, fused=fused)
    for number in range(3):
        weights.grad = uniform(192, 488) * (number + 1)
        optimizer.step()
    return weights


# The price of a level.


def price() -> None:
    """A table: rows a second of the real network, each level against unconstrained training."""
    cores = determinism.threads("machine")
    levels = ("unconstrained", *determinism.LEVELS)
    ways = [(level, threads) for threads in sorted({1, cores}) for level in levels]
    children = {way: start(*way) for way in ways}
    rounds = measure(children)
    for child in children.values():
        ask(child, "end")
        child.wait()
    rows = STEPS * settings_of_training().batch_size
    print("| Level | Threads | Rows a second | Unconstrained at the same time | Price | Pairs |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for (level, threads), pairs in rounds.items():
        if not pairs:
            sys.exit("other programs were running all the time: measure on an idle machine")
        constrained, free = (
            rows / statistics.median(column) for column in zip(*pairs, strict=True)
        )
        ratio = statistics.median(a / b for a, b in pairs)
        cells = (level, threads, f"{constrained:,.0f}", f"{free:,.0f}", f"{ratio:.2f}x", len(pairs))
        print(f"| {' | '.join(map(str, cells))} |")
    print(f"\nPairs of {STEPS} steps, each level in turn with unconstrained training; medians.\n")


def measure(children: dict[Way, subprocess.Popen[str]]) -> dict[Way, list[tuple[float, float]]]:
    """Seconds of each level, paired with those of unconstrained training just before."""
    pairs: dict[Way, list[tuple[float, float]]] = {
        way: [] for way in children if way[0] != "unconstrained"
    }
    deadline = time.monotonic() + PATIENCE
    while min(map(len, pairs.values())) < ROUNDS and time.monotonic() < deadline:
        for way, measured in pairs.items():
            free = undisturbed(children["unconstrained", way[1]])
            constrained = undisturbed(children[way]) if free else None
            if free and constrained and len(measured) < ROUNDS:
                measured.append((constrained, free))
    return pairs


def undisturbed(child: subprocess.Popen[str]) -> float | None:
    """Seconds of the child's steps, or None when other programs used the processor as well."""
    ask(child, str(WARM))
    before = busy()
    seconds, used = map(float, ask(child, str(STEPS)).split())
    return seconds if busy() - before - used < FOREIGN * seconds + TICKS else None


def busy() -> float:
    """Processor seconds that all programs have used since the start of the machine."""
    fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    ticks = list(map(int, fields))
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def start(level: str, threads: int) -> subprocess.Popen[str]:
    """A child that trains on demand."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", level],
        env=environment({}, threads),
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    ask(child, str(WARM))
    return child


def ask(child: subprocess.Popen[str], question: str) -> str:
    """The line with which the child answers."""
    assert child.stdin
    assert child.stdout
    child.stdin.write(question + "\n")
    child.stdin.flush()
    return child.stdout.readline()


def settings_of_training() -> "NetworkParams":
    """Section `network` of params.yaml."""
    from refit.core import params
    from refit.models.network import NetworkParams

    return params.read(NetworkParams, "network", ROOT / "params.yaml")


def train_on_demand(level: str) -> None:
    """In the child: take the steps that each line asks for; print their wall and CPU seconds."""
    if level != "unconstrained":
        determinism.apply(cast("determinism.Level", level))
    advance = trainer(level)
    for line in sys.stdin:
        if line.strip() == "end":
            return
        started, used = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            next(advance)
        print(time.perf_counter() - started, time.process_time() - used, flush=True)


def trainer(level: str) -> Iterator[None]:
    """Endless steps of the real network on generated rows."""
    from steps import training_steps

    from refit.models.model import Shape
    from refit.models.network import Network
    from refit.tasks.catalog import find as find_task
    from refit.training import linear_layer, setup

    if level == "unconstrained":
        linear_layer.use("machine", determinism.threads("machine"))
    else:
        known = cast("determinism.Level", level)
        setup.prepare(SEED, known, determinism.threads(known))
    setup.leave_memory_unfilled()
    shape = Shape(numeric=NUMERIC, cardinalities=CARDINALITIES, outputs=1)
    network = Network(shape, settings_of_training(), seed=SEED)
    return training_steps(network, generated(), find_task("binary"), SEED)


def generated() -> "Arrays":
    """Arrays of the flights' shape, whose target cannot be learnt by heart.

    The gradients of a loss near zero are denormal numbers, which are many times slower.
    """
    import numpy as np

    from refit.data.prepared import Arrays

    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(ROWS, NUMERIC)).astype(np.float32)
    numeric[rng.random((ROWS, NUMERIC)) < 0.05] = np.nan
    codes = [rng.integers(0, known, ROWS) for known in CARDINALITIES]
    noise = rng.normal(size=ROWS)
    target = (np.nan_to_num(numeric[:, 0]) > noise).astype(np.float32)
    return Arrays(
        numeric=numeric, categorical=np.stack(codes, axis=1).astype(np.int32), target=target
    )


# One training, with every operation of the network, on emulated processors.


def processors() -> None:
    """A table: the digest of the weights of tests/test_processors.py's training."""
    print("| Level | Processor | Threads | Seconds | Weights |\n| --- | --- | ---: | ---: | --- |")
    for level in ("any-x86", "threads"):
        weights = {trained(level, "this one", [], threads) for threads in THREADS} | {
            trained(level, name, command, threads)
            for name, command in emulators().items()
            for threads in (1, 2)
        }
        if level == "any-x86" and len(weights) > 1:
            sys.exit("the weights differ")
    if not emulators():
        sys.exit("no processor was emulated: install qemu-x86_64 (Debian: qemu-user)")


def trained(level: str, processor: str, command: list[str], threads: int) -> str:
    """The digest of one training in a new process, printed as a row."""
    started = time.perf_counter()
    done = subprocess.run(
        [*command, sys.executable, str(ROOT / "tests/test_processors.py"), level],
        env=environment({}, threads),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    seconds = time.perf_counter() - started
    digest = done.stdout.strip()
    print(f"| {level} | {processor} | {threads} | {seconds:.0f} | {digest[:16]} |", flush=True)
    return digest


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        compute() if sys.argv[2] == "operations" else train_on_demand(sys.argv[2])
    else:
        main()
