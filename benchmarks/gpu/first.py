"""How long a fresh process takes until its first `fit` on a GPU is done: with nothing compiled before, and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from ...errors import ChalkgradError
from .steps import LOSS, drawn

SAMPLES, QUICK_SAMPLES = 12_800, 512
LATEST = 60.0
"""Seconds that a process may take."""


def measure_first(device: str, quick: bool) -> dict[str, Any]:
    """Seconds from the start of Python to the end of imports, of the first and of the second `fit`, cold and warm."""
    found: dict[str, Any] = {"samples": QUICK_SAMPLES if quick else SAMPLES}
    with tempfile.TemporaryDirectory(prefix="chalkgrad-first-") as folder:
        environ = {**os.environ, "CUPY_CACHE_DIR": folder, "CUPY_CACHE_IN_MEMORY": "0"}
        for name in ("cold", "warm"):
            command = [sys.executable, "-m", __name__, device, str(found["samples"]), str(time.time())]
            ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LATEST, check=False)
            if ran.returncode:
                raise ChalkgradError(f"a first fit failed: {ran.stderr.strip()[-300:]}")
            found[name] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main() -> None:
    """What the process does: it prints the seconds since the time that it is given."""
    device, count, start = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    from ...nn import Sequential, layers

    seen = {"imported": time.time() - start}
    x, labels = drawn(count, 784, 10)
    model = Sequential([layers.Dense(128, "relu"), layers.Dense(10, "softmax")], device=device)
    model.compile("adam", LOSS, ["accuracy"])
    for name in ("first_fit", "second_fit"):
        model.fit(x, labels, batch_size=128, epochs=2, verbose=0)
        seen[name] = time.time() - start
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
