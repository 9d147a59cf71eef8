"""Count changes of the code that no test notices, in a random sample of small changes.

    python .ci/mutants.py monai_semiseg/hebbian tests/hebbian --count 60 --seed 0

Each mutant is one change of one operator or number of one module. It lives in the memory of a
process of its own, forked from one that has imported the libraries: no file is changed. The tests
that name the module run first, then the rest of the folder. A mutant survives if all pass.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}


def changeable(node: ast.AST, inside: bool = True) -> Iterator[ast.AST]:
    """Yield the nodes that a mutant may change; not those of annotations, messages and texts."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if inside and _is_changeable(node):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from changeable(child)


def _is_changeable(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return type(node.ops[0]) in COMPARISONS
    if isinstance(node, ast.BinOp):
        return type(node.op) in OPERATIONS
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float)
    return isinstance(node, ast.BoolOp) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )


def change(node: ast.AST) -> str:
    """Change a node in place; return what it was and became."""
    before = ast.unparse(node)
    if isinstance(node, ast.Compare):
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp):
        node.op = OPERATIONS[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Constant):
        value = node.value
        node.value = not value if isinstance(value, bool) else value + 1  # type: ignore[operator]
    return f"{before}  ->  {ast.unparse(ast.fix_missing_locations(node))}"


class MutatedModule(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Import one module from changed code."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name = name
        self.path = path
        self.tree = tree

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a specification of the one module."""
        if name != self.name:
            return None
        folders = [str(self.path.parent)] if self.path.stem == "__init__" else None
        return importlib.util.spec_from_file_location(
            name, self.path, loader=self, submodule_search_locations=folders
        )

    def get_filename(self, fullname: str) -> str:
        """Return the path that tracebacks show."""
        return str(self.path)

    def get_data(self, path: str | bytes) -> bytes:
        """Return the unchanged source, which tracebacks show."""
        return Path(os.fsdecode(path)).read_bytes()

    def get_code(self, fullname: str) -> CodeType:
        """Return the changed code."""
        return compile(self.tree, str(self.path), "exec")


def survives(path: Path, tree: ast.Module, tests: Path, seconds: int) -> bool:
    """Return whether all tests of a folder pass with the changed module."""
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    files = sorted(tests.rglob("test_*.py"))
    near = [file for file in files if name in file.read_text()]
    rest = [file for file in files if file not in near]
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        import pytest

        sys.meta_path.insert(0, MutatedModule(name, path.resolve(), tree))
        quick = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
        parts = [part for part in (near, rest) if part]
        os._exit(any(pytest.main([*quick, *map(str, part)]) for part in parts))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def main() -> None:
    """Draw mutants, run the tests on each, and print those that survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder or file of the package")
    parser.add_argument("tests", type=Path, help="folder of its tests")
    parser.add_argument("--count", type=int, default=60, help="mutants (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--seconds", type=int, default=300, help="limit for one mutant")
    args = parser.parse_args()
    for library in ("torch", "monai.bundle", "SimpleITK", "nibabel", "pydicom", "hypothesis"):
        importlib.import_module(library)
    trees = {path: ast.parse(path.read_text()) for path in _modules(args.folder)}
    places = [(path, n) for path in trees for n, _ in enumerate(changeable(trees[path]))]
    sample = random.Random(args.seed).sample(places, min(args.count, len(places)))
    first = next(iter(trees))
    if not survives(first, trees[first], args.tests, args.seconds):
        sys.exit(f"{args.tests}: the tests fail, or take too long, without any change")
    left = 0
    for number, (path, n) in enumerate(sample, 1):
        tree = copy.deepcopy(trees[path])
        node = list(changeable(tree))[n]
        text = f"{path}:{node.lineno}: {change(node)}"  # type: ignore[attr-defined]
        if survives(path, tree, args.tests, args.seconds):
            left += 1
            sys.stdout.write(f"survived: {text}\n")
            sys.stdout.flush()
        sys.stderr.write(f"\r{number} of {len(sample)}, {left} survived")
    sys.stdout.write(f"{args.folder}: {left} of {len(sample)} mutants survived\n")


def _modules(folder: Path) -> list[Path]:
    return [folder] if folder.is_file() else sorted(folder.rglob("*.py"))


if __name__ == "__main__":
    main()
