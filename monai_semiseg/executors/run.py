"""The coordinator: hand out chunks, stream results in, do again what a lost worker left undone."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, cast

from monai_semiseg.errors import WorkerLostError
from monai_semiseg.executors.choice import ExecutorChoice
from monai_semiseg.executors.engine import Engine, open_engine
from monai_semiseg.executors.work import Chunk, Item, Result, Work

_LOOK = 0.5  # seconds between two looks at a stop, and calls of ``tick``


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """The end of one item.

    Attributes:
        number: its position among the items.
        item: it.
        result: of the work; None if it was given up.
        error: how its workers ended, if it was given up.
        log: of the worker, empty if there is none.
    """

    number: int
    item: Item
    result: Result | None
    error: WorkerLostError | None = None
    log: str = ""

    def value(self) -> Result:
        """Return the result.

        Raises:
            WorkerLostError: If the item was given up.
        """
        if self.error is not None:
            raise self.error
        return cast(Result, self.result)


@dataclass(frozen=True)
class Hooks(Generic[Item]):
    """Let the owner of the items have a say.

    Attributes:
        stopped: if True, nothing more is handed out, and workers end after the item under way.
        ready: whether an item may begin beside those that are under way.
        before: called before an item is handed out.
        tick: called about twice a second.
    """

    stopped: Callable[[], bool] = lambda: False
    ready: Callable[[Item, Sequence[Item]], bool] | None = None
    before: Callable[[Item], None] | None = None
    tick: Callable[[], None] = lambda: None


def run_work(
    engine: Engine, items: Sequence[Item], hooks: Hooks[Item] | None = None
) -> Iterator[Done[Item, Any]]:
    """Yield the end of every item, as they come in.

    After a worker has ended, its items are looked for among the result files, and those that are
    not there are begun again. The first of them was under way: it goes alone, since an item that
    kills every worker must not take others with it, and after ``engine.resubmit`` times it is given
    up. Work without result files does not say which item was under way: the two halves of what the
    worker had go their own ways, and so on, and only an item that was alone counts. If the run is
    stopped, items that were not begun are left out.

    Args:
        engine: that was opened for the work.
        items: of the work.
        hooks: of the owner.

    Raises:
        ExecutorError: If the engine has ended.
        Exception: What the work raises beside its results, after the results before it.
    """
    return _Coordinator(engine, items, hooks or Hooks()).run()


def run_in_order(
    choice: ExecutorChoice,
    work: Work[Item, Result],
    items: Sequence[Item],
    logs: Path,
    bar: Callable[[Iterator[Done[Item, Result]]], Iterable[Done[Item, Result]]],
) -> list[Done[Item, Result]]:
    """Do all items by an engine of their own, and return their ends in the items' order.

    Args:
        choice: which engine.
        work: of the items.
        items: to do.
        logs: folder for the workers' logs.
        bar: shows the ends as they come in.

    Raises:
        ConfigError: If the engine cannot be opened.
        ExecutorError: If it has ended.
        Exception: What the work raises beside its results.
    """
    with open_engine(choice, work, logs) as engine:
        return sorted(bar(run_work(engine, items)), key=lambda end: end.number)


class _Coordinator(Generic[Item]):
    """The items that wait, and those that workers have."""

    def __init__(self, engine: Engine, items: Sequence[Item], hooks: Hooks[Item]) -> None:
        self.engine = engine
        self.items = items
        self.hooks = hooks
        self.waiting = deque(range(len(items)))
        self.again: deque[list[int]] = deque()  # chunks of those whose worker was lost
        self.lost = Counter[int]()
        self.running: dict[Future[Chunk[Any]], list[int]] = {}
        self.seconds = 0.0
        self.counted = 0
        self.error: Exception | None = None
        self.told = False

    @property
    def ends(self) -> bool:
        """Return True if nothing more is handed out."""
        return self.error is not None or self.hooks.stopped()

    def run(self) -> Iterator[Done[Item, Any]]:
        """Yield the end of every item."""
        while self.running or ((self.waiting or self.again) and not self.ends):
            self._hand_out()
            if self.ends and not self.told:
                self.engine.stop()
                self.told = True
            self.hooks.tick()
            ended, _ = wait(self.running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            for future in ended:
                yield from self._take_in(future, self.running.pop(future))
        self.hooks.tick()
        if self.error is not None:
            raise self.error

    def _hand_out(self) -> None:
        """Fill the workers."""
        while not self.ends and len(self.running) < self.engine.capacity:
            numbers = self._next()
            if not numbers:
                return
            chunk = [self.items[number] for number in numbers]
            if self.hooks.before is not None:
                for item in chunk:
                    self.hooks.before(item)
            self.running[self.engine.submit(chunk)] = numbers

    def _next(self) -> list[int]:
        """Return the numbers of the next chunk; none if nothing may begin now."""
        if self.hooks.ready is not None:
            return self._first_ready(self.hooks.ready)
        if self.again:
            return self.again.popleft()
        size = self._size()
        return [self.waiting.popleft() for _ in range(min(size, len(self.waiting)))]

    def _first_ready(self, ready: Callable[[Item, Sequence[Item]], bool]) -> list[int]:
        held = [self.items[number] for numbers in self.running.values() for number in numbers]
        for chunk in self.again:
            if all(ready(self.items[number], held) for number in chunk):
                self.again.remove(chunk)
                return chunk
        for number in self.waiting:
            if ready(self.items[number], held):
                self.waiting.remove(number)
                return [number]
        return []

    def _size(self) -> int:
        pace = self.seconds / self.counted if self.counted else None
        return max(1, min(self.engine.chunk_size(len(self.waiting), pace), self.engine.work.most))

    def _take_in(self, future: Future[Chunk[Any]], numbers: list[int]) -> Iterator[Done[Item, Any]]:
        try:
            chunk = future.result()
        except BaseException as error:
            lost = self.engine.lost(error)
            if lost is None:
                raise
            yield from self._do_again(numbers, lost)
            return
        if isinstance(chunk.error, WorkerLostError):  # a process that the work itself started
            yield from self._do_again(numbers, chunk.error)
            return
        self.seconds += chunk.seconds
        self.counted += len(chunk.results)
        for number, result in zip(numbers, chunk.results, strict=False):
            yield Done(number, self.items[number], result, log=chunk.log)
        left = numbers[len(chunk.results) :]
        if chunk.error is not None:
            self.error = self.error or chunk.error
        elif left:  # the worker was asked to end; by now it may have written more than it returned
            yield from self._do_again(left, WorkerLostError("the worker was asked to end"))

    def _do_again(
        self, numbers: Sequence[int], error: WorkerLostError
    ) -> Iterator[Done[Item, Any]]:
        """Yield what result files say, and put the rest back; give up what was begun too often."""
        found = self.engine.work.finished([self.items[number] for number in numbers])
        known = found or {}
        left = []
        for position, number in enumerate(numbers):
            if position in known:
                yield Done(number, self.items[number], known[position], log=str(error.path or ""))
            else:
                left.append(number)
        if not left or self.ends:
            return
        if found is None and len(left) > 1:  # any of them was under way
            middle = len(left) // 2
            self.again.extend([left[:middle], left[middle:]])
            return
        suspect, *others = left
        self.waiting.extendleft(reversed(others))
        self.lost[suspect] += 1
        if self.lost[suspect] <= self.engine.resubmit:
            self.again.append([suspect])
        else:
            yield Done(suspect, self.items[suspect], None, self._given_up(suspect, error))

    def _given_up(self, number: int, error: WorkerLostError) -> WorkerLostError:
        return WorkerLostError(
            f"{error.found}; this was attempt {self.lost[number]}",
            expected=error.expected,
            remedy=error.remedy,
            path=error.path,
        )
