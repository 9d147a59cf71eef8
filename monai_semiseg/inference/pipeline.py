"""Pipeline that reads the next scan, computes this one and writes the last at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Done = TypeVar("Done")
Result = TypeVar("Result")


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Loaded],
    compute: Callable[[Loaded], Done],
    write: Callable[[Done], Result],
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """Yield ``write(compute(read(item)))`` for every item, in order.

    One thread reads one item ahead, one writes one item behind, and the calling thread computes: at
    most three items are held at a time. If computing raises, the item before it is still written
    and yielded. The computing thread uses all of torch's threads: see :func:`_give_one_thread`.

    Args:
        items: inputs of ``read``.
        read: run in a thread.
        compute: run in the calling thread.
        write: run in another thread.
        stopped: called before every item; if True, items that have begun are finished, and no more
            are begun.
    """
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        _give_one_thread(reader, writer)
        ahead = reader.submit(read, items[0]) if items else None
        behind: Future[Result] | None = None
        try:
            for following in [*items[1:], None]:
                if ahead is None or stopped():
                    break
                loaded = ahead.result()
                ahead = None if following is None else reader.submit(read, following)
                done = compute(loaded)
                if behind is not None:
                    yield behind.result()
                behind = writer.submit(write, done)
        except GeneratorExit:
            raise
        except BaseException:
            if behind is not None:
                yield behind.result()
            raise
        if behind is not None:
            yield behind.result()


def _give_one_thread(*pools: ThreadPoolExecutor) -> None:
    """Let each of these pools of one thread use one of torch's threads, the caller all of them.

    With several OpenMP threads each they would be more than the cores. OpenMP then puts threads
    to sleep at every wait, those of the network too: a folder of small scans took 1.45 times as
    long as the network alone, and takes 1.15 times as long this way.
    """
    count = torch.get_num_threads()
    for pool in pools:
        pool.submit(_take_one_thread).result()
    torch.set_num_threads(count)  # for threads that begin later; those of the pools keep one


def _take_one_thread() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # the first call in a thread fixes its number
