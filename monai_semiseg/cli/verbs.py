"""Turn a module with ``add_arguments`` and ``run`` into a verb, and call one verb from another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType

EXIT_CODES = """exit codes: 0 all done; 1 internal error;
2 bad arguments, configuration, weights or dataset;
3 finished, some cases failed; 4 interrupted or disk full; 5 finished, some masks are flagged;
141 nobody reads the output"""


def verb_name(module: ModuleType) -> str:
    """Return the name by which the command line knows a module."""
    return module.__name__.rsplit(".", 1)[-1]


def describe(module: ModuleType) -> str:
    """Return the first line of a module's documentation."""
    return (module.__doc__ or "").strip().splitlines()[0]


def run_verb(module: ModuleType, argv: Sequence[str]) -> int:
    """Run a verb as the command line would, and return its exit code.

    Args:
        module: of the verb.
        argv: its arguments.
    """
    parser = argparse.ArgumentParser(prog=f"monai-semiseg {verb_name(module)}")
    module.add_arguments(parser)
    code: int = module.run(parser.parse_args(argv))
    return code
