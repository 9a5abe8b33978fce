"""Batches from outside: generators, iterables of batches, and datasets that give a batch by its number."""

from __future__ import annotations

import contextlib
import dis
import functools
import itertools
import types
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy

from ..checks import whole
from ..engine import backend
from ..engine.tensor import Tensor
from ..errors import DataError, UsageError
from ..replay.arguments import leaves, rebuilt
from .graph import listed
from .samples import Samples
from .weighing import unweighed

ENDLESS = itertools.cycle, itertools.count, itertools.repeat
MANY = 10_000
"""Batches of an epoch whose end is not known, after which a line asks whether there is one."""


class PyDataset:
    """Batches by their number, in Keras's way: a subclass has `__getitem__(index)` and `__len__`, batches an epoch.

    A batch is (x, y) or (x, y, sample_weight). workers: threads that make batches beside the training, one is none;
    max_queue_size: how many may wait. use_multiprocessing: threads do that, too.
    """

    workers, use_multiprocessing, max_queue_size = 1, False, 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers, self.use_multiprocessing = whole("PyDataset", "workers", workers, 0), use_multiprocessing
        self.max_queue_size = whole("PyDataset", "max_queue_size", max_queue_size)

    def __getitem__(self, index: int) -> Any:
        """The batch of that number."""
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__(index), which returns a batch.")

    def __len__(self) -> int:
        """How many batches an epoch has."""
        raise NotImplementedError(f"{type(self).__name__} has no __len__, the number of batches of an epoch.")

    @property
    def num_batches(self) -> int | None:
        """The same; None for a dataset without end, of which `steps_per_epoch` are taken."""
        return len(self)

    def on_epoch_begin(self) -> None:
        """Called before each epoch over it."""

    def on_epoch_end(self) -> None:
        """Called after each."""


class InBatches:
    """Samples and targets, with their weights, in batches of a size. batch: all of them, as a step takes them."""

    def __init__(self, batch: list[Any], size: int) -> None:
        self.batch, self.size, self.count = batch, size, len(next(leaves(batch)))

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def over(self, generator: numpy.random.Generator | None) -> Iterator[Any]:
        """One pass, in an order that is drawn, if there is what to draw it from."""
        order = generator.permutation(self.count) if generator else numpy.arange(self.count)
        for start in range(0, self.count, self.size):
            x, y = rebuilt(self.batch, functools.partial(_rows, order[start : start + self.size]))
            pairs = [unweighed(each) for each in listed(y)]
            targets, weights = ([*column] for column in zip(*pairs, strict=True))
            yield (x, targets, weights) if isinstance(y, list) else (x, targets[0], weights[0])


def _rows(order: Any, values: backend.Array) -> backend.Array:
    return values[backend.to_device(order, backend.device_of(values))]


OF_ARRAYS = "__array__", "__dlpack__", "toarray"
"""What arrays have, sparse ones too."""


def is_source(x: Any) -> bool:
    """Whether x gives batches, rather than that it holds samples."""
    if isinstance(x, (PyDataset, InBatches)) or hasattr(x, "__next__"):
        return True
    if isinstance(x, (list, tuple, dict, str, Tensor)) or any(hasattr(x, name) for name in OF_ARRAYS):
        return False
    with contextlib.suppress(TypeError):  # a buffer
        memoryview(x)
        return False
    return hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


class Source:
    """What gives batches, an epoch's after another's.

    make: what becomes of (x, y, sample_weight). steps: batches an epoch; None is all that come. what: it, for errors.
    An epoch goes on where the one before ended, and begins anew where that was the end; it ends there, too, with a
    warning where more was asked for. What can be gone through once, a generator, is then at its end.
    """

    streamed, augmentation = True, None

    def __init__(self, given: Any, make: Callable[..., Samples], what: str = "", steps: int | None = None) -> None:
        self.given, self.make = given, make
        self.steps = None if steps is None else whole("it", "steps", steps)
        self.what = f"the {what}{type(given).__name__}"
        self.once = hasattr(given, "__next__")
        self.length = _length(given)
        if steps is None and never_ends(given):
            raise UsageError(
                f"{self.what} repeats for ever: say how many of its batches are an epoch, by steps_per_epoch=… of fit, "
                "validation_steps=… for its validation_data, steps=… of evaluate and predict."
            )
        self.came, self._begun, self._told = 0, False, False
        self._pass: Iterator[Any] | None = None
        self._ahead: list[Any] = []

    @property
    def batches(self) -> int | None:
        """Of an epoch; None where that is not known."""
        return self.steps or self.length

    def begins(self, generator: numpy.random.Generator | None = None) -> bool:
        """Whether another epoch can begin. generator: what the order of batches is drawn from, if they have another."""
        if not self._begun:
            self._begun = True
            _tell(self.given, "on_epoch_begin")
        if not self._ahead:
            fresh = self._pass is None
            self._take(generator)
            if not (self._ahead or fresh or self.once):
                self._pass = None
                self._take(generator)
        return bool(self._ahead)

    @property
    def _numbered(self) -> bool:
        """Whether batches can be had in any order."""
        return isinstance(self.given, (PyDataset, InBatches)) or not hasattr(self.given, "__iter__")

    def _take(self, generator: numpy.random.Generator | None) -> None:
        if self._pass is None:
            self._pass, self.came = self._over(generator), self.came if self.once else 0
        self._ahead = [*itertools.islice(self._pass, 1)]

    def _over(self, generator: numpy.random.Generator | None) -> Iterator[Any]:
        """One pass over all that it gives."""
        given = self.given
        if not self._numbered:
            return iter(given)
        if isinstance(given, InBatches):
            return given.over(generator)
        order: Any = itertools.count() if self.length is None else range(self.length)
        if generator is not None and self.length is not None:
            order = generator.permutation(self.length).tolist()
        return _prepared(given, order)

    def first(self) -> Samples:
        """A first batch, to know what batches are; it is taken again. Raises DataError where there is none."""
        found = [*itertools.islice(self._over(None), 1)] if self._numbered else self.begins() and self._ahead
        if not found:
            raise DataError(f"{self.what} gives no batch at all.")
        return self._made(found[0])

    def _made(self, batch: Any) -> Samples:
        parts = tuple(batch) if isinstance(batch, (list, tuple)) else (batch,)
        return self.make(parts, f"batch {self.came + 1} of {self.what}")

    def epoch(self) -> Generator[Samples, None, None]:
        """The batches of the epoch that begins."""
        try:
            for number in range(self.steps) if self.steps else itertools.count():
                if not self._ahead:
                    self._take(None)
                if not self._ahead:
                    if self.steps:
                        self._warn(f"{number} of the {self.steps} batches of this epoch, which ends here")
                    break
                made = self._made(self._ahead[0])
                self.came += 1
                self._ahead = []
                yield made
                if number == MANY and self.batches is None:
                    self._warn(f"{MANY} batches in this epoch, and has not ended: if it repeats, give steps_per_epoch")
        finally:
            if self.steps is None:
                self._pass = None
            self._begun = False
            _tell(self.given, "on_epoch_end")

    def slices(self, size: int) -> Iterator[list[Any]]:
        """Samples and targets of an epoch, batch by batch as they come."""
        if not self.begins():
            raise DataError(f"{self.what} is at its end, after {self.came} batches.")
        for batch in self.epoch():
            yield from batch.slices(len(batch))

    def ended_after(self, epoch: int, epochs: int) -> None:
        """Warn that there is no batch for another epoch, unless that was told."""
        if not self._told:
            self._warn(f"{self.came} batches and is at its end, after {epoch} of {epochs} epochs")

    def _warn(self, told: str) -> None:
        self._told = True
        warnings.warn(f"{self.what} gave {told}.", stacklevel=7)

    def close(self) -> None:
        """Let the threads go that prepare batches."""
        if isinstance(self._pass, types.GeneratorType) and self._pass is not self.given:
            self._pass.close()


def kinds(parts: Iterable[Any]) -> str:
    """What things are, in words."""
    return ", ".join(type(part).__name__ for part in parts)


def _length(given: Any) -> int | None:
    """Batches of a pass; None where it does not say."""
    if isinstance(given, PyDataset):
        return given.num_batches
    try:
        return len(given)
    except TypeError:
        return None


def never_ends(given: Any) -> bool:
    """Whether it is known to repeat for ever: a generator whose code has no way out, one of itertools' such."""
    if isinstance(given, types.GeneratorType):
        names = {each.opname for each in dis.get_instructions(given.gi_code)}
        return not names & {"RETURN_VALUE", "RETURN_CONST"}
    return isinstance(given, ENDLESS) or (isinstance(given, PyDataset) and given.num_batches is None)


def _tell(given: Any, hook: str) -> None:
    if callable(getattr(given, hook, None)):
        getattr(given, hook)()


def _prepared(given: Any, order: Any) -> Iterator[Any]:
    """The batches of these numbers, made beside the training where that has threads for it."""
    workers = getattr(given, "workers", 1)
    if workers < 2:
        yield from map(given.__getitem__, order)
        return
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers, "chalkgrad-batches") as pool:
        try:
            for number in order:
                waiting.append(pool.submit(given.__getitem__, number))
                if len(waiting) > given.max_queue_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
