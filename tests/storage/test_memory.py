"""Memory is what the system says."""

from __future__ import annotations

import mmap

import psutil

from monai_semiseg.storage.files import available_memory, resident_memory


def test_memory_is_what_the_system_says() -> None:
    before = resident_memory()
    with mmap.mmap(-1, 64 << 20) as block:  # new pages, whatever memory the process has kept
        for page in range(0, 64 << 20, mmap.PAGESIZE):
            block[page] = 1
        assert 60 < resident_memory() - before < 80
    assert 0 < available_memory() < psutil.virtual_memory().total
