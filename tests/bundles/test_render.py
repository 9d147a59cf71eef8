"""The bundles on disk are what their base and overlays say, and rendering does what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from monai_semiseg.bundles.render import as_json, merged, render, rendered, with_steps
from monai_semiseg.errors import ConfigError

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


def test_rendering_changes_nothing() -> None:
    stale = [str(path) for path, text in rendered(BUNDLES) if path.read_text() != text]
    assert not stale, f"run python -m monai_semiseg.bundles render: {stale}"


def test_every_config_of_a_bundle_is_rendered_or_its_own_alone() -> None:
    """Check that a file that two bundles share word by word comes from the base."""
    made = {path for path, _ in rendered(BUNDLES)}
    others: dict[str, Path] = {}
    for path in sorted(BUNDLES.glob("[!_]*/configs/**/*.*")):
        if path not in made:
            twin = others.setdefault(path.read_text(), path)
            assert twin == path, f"{path} is {twin} again"


def base(folder: Path, recipe: dict[str, object]) -> Path:
    (folder / "_base" / "files").mkdir(parents=True)
    (folder / "_base" / "a.json").write_text(
        json.dumps({"imports": ["x"], "deep": {"one": 1, "list": [1, 2]}, "last": 0})
    )
    (folder / "_base" / "b.json").write_text(
        json.dumps({"imports": ["x", "y"], "deep": {"two": 2, "list": [3]}})
    )
    (folder / "_base" / "files" / "note.txt").write_text("as it is\n")
    (folder / "_base" / "toy.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def test_parts_are_merged_keys_set_and_removed(tmp_path: Path) -> None:
    config = {
        "parts": ["a.json", "b.json"],
        "set": {"deep/list/0": 9, "new/key": "v"},
        "remove": ["deep/one", "last"],
    }
    folder = base(tmp_path, {"copy": ["docs/note.txt"], "configs": {"train.json": config}})
    assert [path.name for path in render(folder)] == ["note.txt", "train.json"]
    assert json.loads((folder / "toy" / "configs" / "train.json").read_text()) == {
        "imports": ["x", "y"],
        "deep": {"list": [9], "two": 2},
        "new": {"key": "v"},
    }
    assert (folder / "toy" / "docs" / "note.txt").read_text() == "as it is\n"
    assert render(folder) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [({"parts": ["gone.json"]}, "no such part"), ({"parts": ["a.json"], "remove": ["z"]}, "'z'")],
)
def test_what_is_not_there_is_named(tmp_path: Path, config: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        render(base(tmp_path, {"configs": {"train.json": config}}))
    assert not (tmp_path / "toy").exists()


def test_named_steps_take_the_place_of_their_name() -> None:
    steps = {"load": [1, {"a": 2}], "all": [{"_steps_": "load"}, 3]}
    node = {"list": [0, {"_steps_": "all"}, {"b": [{"_steps_": "load"}]}], "c": "d"}
    expected = {"list": [0, 1, {"a": 2}, 3, {"b": [1, {"a": 2}]}], "c": "d"}
    assert with_steps(node, steps) == expected
    with pytest.raises(ConfigError, match="no steps 'lod'"):
        with_steps([{"_steps_": "lod"}], steps)


def test_merging_leaves_its_parts_alone() -> None:
    first = {"a": {"b": 1}}
    assert merged([first, {"a": {"c": 2}}]) == {"a": {"b": 1, "c": 2}}
    assert first == {"a": {"b": 1}}


def test_short_nodes_stand_on_one_line() -> None:
    node = {"short": [1, {"a": None}], "long": ["x" * 70, "y" * 70], "empty": {}}
    text = as_json(node)
    assert json.loads(text) == node
    assert text.splitlines()[1] == '    "short": [1, {"a": null}],'
    assert max(map(len, text.splitlines())) < 121
