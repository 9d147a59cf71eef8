"""Work of microseconds with the real result files: what a worker costs, not what it does."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_semiseg.errors import OutputError
from monai_semiseg.executors.work import Work
from monai_semiseg.storage.files import write_atomically


@dataclass(frozen=True)
class NoFiles(Work[int, int]):
    """Work that leaves nothing behind, and kills its worker at some numbers.

    Attributes:
        kills: these numbers.
    """

    kills: tuple[int, ...] = ()

    def open(self) -> Callable[[Sequence[int]], Iterable[int]]:
        """Return the function of the work."""
        return self._do

    def _do(self, numbers: Sequence[int]) -> Iterator[int]:
        for number in numbers:
            if number in self.kills:
                os.kill(os.getpid(), signal.SIGKILL)
            yield number * number


@dataclass(frozen=True)
class Squares(Work[int, int]):
    """Writes the square of every number, and kills or fails at some.

    Attributes:
        folder: of the result files.
        kills: numbers that kill their worker, each as often as there are files ``N.kill*``.
        fails: the number that ends the work.
        pause: seconds for each.
    """

    folder: Path
    kills: tuple[int, ...] = ()
    fails: int = -1
    pause: float = 0.0

    def open(self) -> Callable[[Sequence[int]], Iterable[int]]:
        """Note who opens the work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"opened.{os.getpid()}").touch()
        return self._do

    def _do(self, numbers: Sequence[int]) -> Iterator[int]:
        import time

        for number in numbers:
            time.sleep(self.pause)
            if number in self.kills:
                for file in sorted(self.folder.glob(f"{number}.kill*"))[:1]:
                    file.unlink()
                    os.kill(os.getpid(), signal.SIGKILL)
            if number == self.fails:
                raise OutputError("cannot be written (disk full)")
            write_atomically(self.folder / f"{number}.json", json.dumps(number * number))
            yield number * number

    def finished(self, items: Sequence[int]) -> Mapping[int, int]:
        """Read the result files."""
        found = {}
        for position, number in enumerate(items):
            file = self.folder / f"{number}.json"
            if file.is_file():
                found[position] = int(json.loads(file.read_text()))
        return found
