"""Three steps at the same time: order, bounds, and what happens when one of them ends early."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from monai_semiseg.inference.pipeline import overlapped


def test_results_come_in_order_and_from_three_threads() -> None:
    threads: dict[str, set[str]] = {"read": set(), "compute": set(), "write": set()}

    def step(name: str, value: int) -> int:
        threads[name].add(threading.current_thread().name)
        time.sleep(0.001 * (value % 3))
        return value + 1

    found = list(overlapped(range(20), *(lambda v, n=name: step(n, v) for name in threads)))
    assert found == [n + 3 for n in range(20)]
    assert threads["compute"] == {threading.current_thread().name}
    assert len(set.union(*threads.values())) == 3


def test_all_of_torchs_threads_are_the_computing_ones() -> None:
    def step(seen: list[int]) -> list[int]:
        return [*seen, torch.get_num_threads()]

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        empty: list[list[int]] = [[]] * 4
        assert list(overlapped(empty, step, step, step)) == [[1, 3, 1]] * 4
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_no_item_and_one_item() -> None:
    assert list(overlapped([], str, str, str)) == []
    assert list(overlapped([5], str, lambda s: s + "!", lambda s: s + "?")) == ["5!?"]


def test_reading_and_writing_go_on_while_computing() -> None:
    """Let each step wait for a step of another item; without overlap the test would hang."""
    reading, writing = threading.Event(), threading.Event()

    def read(n: int) -> int:
        if n == 2:
            reading.set()
        return n

    def compute(n: int) -> int:
        if n == 1:
            assert reading.wait(300) and writing.wait(300)
        return n

    def write(n: int) -> int:
        if n == 0:
            writing.set()
        return n

    assert list(overlapped(range(3), read, compute, write)) == [0, 1, 2]


def test_at_most_three_items_are_held() -> None:
    lock = threading.Lock()
    held: set[int] = set()
    counts: list[int] = []

    def read(n: int) -> int:
        with lock:
            held.add(n)
            counts.append(len(held))
        return n

    def write(n: int) -> int:
        time.sleep(0.003)
        with lock:
            held.remove(n)
        return n

    assert len(list(overlapped(range(30), read, lambda n: n, write))) == 30
    assert max(counts) <= 3


def test_what_was_computed_is_written_when_computing_ends() -> None:
    found: list[int] = []

    def compute(n: int) -> int:
        if n == 3:
            raise KeyboardInterrupt
        return n

    with pytest.raises(KeyboardInterrupt):
        found.extend(overlapped(range(9), lambda n: n, compute, lambda n: n))
    written: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        for n in overlapped(range(9), lambda n: n, compute, lambda n: n):
            written.append(n)
    assert written == [0, 1, 2]


def test_a_stop_finishes_what_is_under_way() -> None:
    computed: list[int] = []

    def compute(n: int) -> int:
        computed.append(n)
        return n

    assert list(
        overlapped(range(9), lambda n: n, compute, lambda n: n, lambda: len(computed) == 4)
    ) == [0, 1, 2, 3]


def test_a_consumer_may_leave() -> None:
    written: list[int] = []

    def results() -> Iterator[int]:
        return overlapped(range(9), lambda n: n, lambda n: n, lambda n: written.append(n) or n)

    run = results()
    assert next(run) == 0
    run.close()  # type: ignore[attr-defined]
    assert written in ([0], [0, 1])
