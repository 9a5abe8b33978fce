"""The small GPT of `chalkgrad train shakespeare` beside a copy in PyTorch: what both have learnt after as many updates.

    CHALKGRAD_DATA=FOLDER python -m chalkgrad.benchmarks.shakespeare --seeds 3 --out FILE

For each seed the command trains its net, and PyTorch a like one, on the same windows in the same order, with the same
update and schedule. Kept are the mean losses over the whole validation split.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy

from ..datasets import shakespeare
from ..datasets.windows import Characters, Windows, split
from ..models import GPT
from .machine import host
from .peers import command_line, write

STEPS, WARM_UP, LEAST = 250, 100, 0.1
"""Updates an epoch; until the learning rate is at its highest; the part of it that is left: the command's."""
RATE, DECAY, NORM, BATCH = 1e-3, 0.1, 1.0, 12


def ours(seed: int, epochs: int) -> float:
    """The validation loss that the command's run ends with."""
    with TemporaryDirectory() as folder:
        options = ["--seed", str(seed), "--epochs", str(epochs), "--batch-size", str(BATCH), "--verbose", "0"]
        command = [sys.executable, "-m", "chalkgrad", "train", "shakespeare", *options, "--out", f"{folder}/run"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        loss: float = json.loads(Path(folder, "run", "settings.json").read_text())["test"]["loss"]
    return loss


def network(sizes: dict[str, Any]) -> Any:
    """The same net in PyTorch: nanoGPT's (A. Karpathy, 2022), its head tied to the table of tokens."""
    torch = import_module("torch")
    nn, width, depth, heads = torch.nn, sizes["width"], sizes["depth"], sizes["heads"]

    def dense(inputs: int, outputs: int, spread: float = 0.02) -> Any:
        layer = nn.Linear(inputs, outputs, bias=False)
        nn.init.normal_(layer.weight, std=spread)
        return layer

    last = 0.02 / math.sqrt(2 * depth)

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.norm_2 = (nn.LayerNorm(width, bias=False) for _ in range(2))
            self.qkv, self.out = dense(width, 3 * width), dense(width, width, last)
            self.inner, self.outer = dense(width, 4 * width), dense(4 * width, width, last)

        def forward(self, x: Any) -> Any:
            batch, steps, _ = x.shape
            parts = self.qkv(self.norm_1(x)).split(width, 2)
            q, k, v = (part.view(batch, steps, heads, -1).transpose(1, 2) for part in parts)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
            return x + self.outer(nn.functional.gelu(self.inner(self.norm_2(x))))

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(sizes["vocabulary"], width)
            self.places = nn.Embedding(sizes["positions"], width)
            for table in (self.tokens, self.places):
                nn.init.normal_(table.weight, std=0.02)
            self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
            self.norm = nn.LayerNorm(width, bias=False)

        def forward(self, ids: Any) -> Any:
            x = self.blocks(self.tokens(ids) + self.places(torch.arange(ids.shape[1])))
            return self.norm(x) @ self.tokens.weight.T

    return Net()


def rate(step: int, steps: int) -> float:
    """The learning rate of an update, as a part of the highest."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    done = min(1.0, (step - WARM_UP) / max(1, steps - WARM_UP))
    return LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * done))


def peer(seed: int, epochs: int, threads: int) -> float:
    """The validation loss of PyTorch's copy."""
    torch = import_module("torch")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    text = shakespeare.load_text()
    letters = Characters(text)
    train, validation = split(numpy.array(letters.encode(text), numpy.uint16))
    sizes = {**GPT.configurations["baby"], "vocabulary": len(letters)}
    windows = Windows(train, sizes["positions"], BATCH, STEPS, seed)
    net = network(sizes)
    matrices = [each for each in net.parameters() if each.ndim > 1]
    vectors = [each for each in net.parameters() if each.ndim == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    update = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(update, lambda step: rate(step, epochs * STEPS))

    def loss(x: Any, y: Any) -> Any:
        logits = net(torch.from_numpy(x))
        return torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), torch.from_numpy(y).view(-1))

    def batches() -> Iterator[tuple[Any, Any]]:
        for _ in range(epochs):
            yield from (windows[at] for at in range(len(windows)))
            windows.on_epoch_end()

    for x, y in batches():
        update.zero_grad(set_to_none=True)
        loss(x, y).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), NORM)
        update.step()
        schedule.step()
    held = Windows(validation, sizes["positions"], 64)
    with torch.no_grad():
        sums = [(loss(*held[at]).item() * len(held[at][0]), len(held[at][0])) for at in range(len(held))]
    total, windows_there = (sum(column) for column in zip(*sums, strict=True))
    return float(total / windows_there)


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where our mean is more than 0.02 above PyTorch's."""
    parser = command_line("shakespeare", __doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--epochs", type=int, default=8, help="of 250 updates")
    parser.add_argument("--threads", type=int, default=1, help="PyTorch's; ours are BLAS's own")
    parser.add_argument("--out", help="a JSON file for all figures")
    given = parser.parse_args(arguments)
    losses: dict[str, list[float]] = {"chalkgrad": [], "PyTorch": []}
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for seed in range(given.seeds):
        for name in losses:
            used = os.times()
            found = ours(seed, given.epochs) if name == "chalkgrad" else peer(seed, given.epochs, given.threads)
            losses[name].append(found)
            seconds[name].append(sum(os.times()[:4]) - sum(used[:4]))
            print(f"seed {seed} {name}: loss {found:.4f}, {seconds[name][-1]:.0f} s of CPU", flush=True)
    means = {name: statistics.fmean(each) for name, each in losses.items()}
    print(" · ".join(f"{name} {mean:.4f}" for name, mean in means.items()))
    if given.out:
        figures = {"updates": given.epochs * STEPS, "losses": losses, "cpu_seconds": seconds, "means": means}
        write(given.out, {"format": "chalkgrad shakespeare 1", "machine": host(), **figures})
    return int(means["chalkgrad"] > means["PyTorch"] + 0.02)


if __name__ == "__main__":
    sys.exit(main())
