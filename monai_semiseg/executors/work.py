"""Description of work that any worker can do: small, picklable, opened once per worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Work(ABC, Generic[Item, Result]):
    """Recipe of a worker's function, such as the settings that a network is loaded by.

    It crosses processes and machines, so it holds settings and paths, never a network. What may
    never be done twice has to be in a file that is whole or absent before it is returned: a worker
    may end at any time (:meth:`finished`).

    Attributes:
        most: largest number of items that a worker gets at a time.
        starts_processes: True if each item gets a process of its own: workers here are threads.
    """

    most: ClassVar[int] = 1000
    starts_processes: ClassVar[bool] = False

    @property
    def device(self) -> str:
        """Return ``auto`` if the GPUs of a machine are to be shared out among its workers."""
        return "cpu"

    @abstractmethod
    def open(self) -> Callable[[Sequence[Item]], Iterable[Result]]:
        """Return the function that yields a result for every item, in order.

        Called once in every worker; the network is loaded here.
        """

    def finished(self, items: Sequence[Item]) -> Mapping[int, Result] | None:
        """Return what result files say of items, by position; None if the work writes none.

        Asked after a worker has ended.
        """
        return None


@dataclass(frozen=True)
class Chunk(Generic[Result]):
    """Hold what a worker returns.

    Attributes:
        results: of the first items; fewer than items if the worker was asked to stop.
        seconds: that they took, without opening the work.
        error: that ended the work; typed errors of one item are results.
        log: file with what the worker had to say.
    """

    results: list[Result]
    seconds: float = 0.0
    error: Exception | None = None
    log: str = ""
