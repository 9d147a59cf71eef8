"""The page over a run: every picture, every failure, nothing that breaks out of the markup."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

from monai_semiseg.export.contact_sheet import write_contact_sheet
from monai_semiseg.export.output_paths import previews_of
from monai_semiseg.export.report import CaseResult


class Links(HTMLParser):
    """Collects what is linked and shown."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.tags: list[str] = []
        self.sizes: list[dict[str, float]] = []
        self.policy = ""
        self.script = ""
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open == "script":
            self.script += data

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open = tag
        values = dict(attributes)
        self.policy += (values.get("content") or "") if tag == "meta" else ""
        if tag == "figure":
            self.sizes.append(json.loads(values["data-sizes"] or ""))
        if tag == "img":
            self.images.append(os.fsdecode(unquote_to_bytes(dict(attributes)["src"] or "")))


def test_pictures_failures_and_odd_names(tmp_path: Path) -> None:
    odd = "a b/<img src=x>#1_seg.nii.gz"
    results = [
        CaseResult("in/c", "done", "c_seg.nii.gz", volumes_ml={"left": 1.234}),
        CaseResult("in/odd", "done", odd, "unlike <b>", flags=["field_of_view"]),
        CaseResult("in/bell", "done", "bell\x1b_seg.nii.gz", "a remark\u202e\x1b[31m"),
        CaseResult(os.fsdecode(b"in/caf\xe9"), "done", os.fsdecode(b"caf\xe9_seg.nii.gz")),
        CaseResult("in/head", "skipped", reason="unlike the others", flags=["field_of_view"]),
        CaseResult("in/none", "done", "none_seg.dcm"),
        CaseResult("in/bad<script>", "failed", reason="ends too early"),
        CaseResult("in/notes.txt", "skipped", reason="not a scan"),
    ]
    for output in ("c_seg.nii.gz", odd, os.fsdecode(b"caf\xe9_seg.nii.gz")):
        (tmp_path / previews_of(output)[0]).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / previews_of(output)[0]).write_bytes(b"png")
    page = write_contact_sheet(results, tmp_path, {0: "background", 1: "left"}).read_text()
    links = Links()
    links.feed(page)
    assert links.images == [
        previews_of(odd)[0],
        "c_preview.png",
        os.fsdecode(b"caf\xe9_preview.png"),
    ]  # with a flag first; none has no picture
    assert all((tmp_path / image).is_file() for image in links.images)
    assert "1.23 mL" in page and "5 done, 1 failed, 2 skipped" in page
    assert links.tags.count("script") == 1  # its own, and a browser runs no other
    digest = hashlib.sha256(links.script.encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in links.policy
    assert links.sizes == [{}, {}, {"left": 1.234}, {}, {}]
    assert "flagged: field_of_view" in page and "unlike the others" in page
    assert not [char for char in page if unicodedata.category(char) in ("Cf", "Cs")]
    assert "\x1b" not in page and "caf\\xe9_seg.nii.gz" in page
    assert "ends too early" in page and "http:" not in page and "https:" not in page


def test_previews_of() -> None:
    for name in ("b_seg.nii.gz", "b_seg.dcm", "b_seg.png", "b.seg.nrrd"):
        assert previews_of(f"a/{name}") == ("a/b_preview.png", "a/b_preview.jpg")


def test_a_thousand_photographs_are_on_pages(tmp_path: Path) -> None:
    results = [
        CaseResult(f"in/{n:04}", "done", f"{n:04}_seg.png", area_px={"left": n}, is_picture=True)
        for n in range(1101)
    ]
    results += [CaseResult(f"in/bad{n}", "failed", reason="ends too early") for n in range(501)]
    for result in results[:1101]:
        (tmp_path / previews_of(result.output)[1]).touch()
    first = write_contact_sheet(results, tmp_path, {1: "left"})
    pages = [first, tmp_path / "index_2.html", tmp_path / "index_3.html"]
    shown = []
    for page in pages:
        links = Links()
        links.feed(page.read_text())
        shown.append(links.images)
    assert [len(images) for images in shown] == [500, 500, 101]
    assert list(itertools.chain(*shown)) == [f"{n:04}_preview.jpg" for n in range(1101)]
    text = first.read_text()
    assert '<a href="index_2.html">2</a>' in text and "patient's right" not in text
    assert "and 1 more" in text and "499 px" in text
    write_contact_sheet(results[:3], tmp_path, {1: "left"})
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["index.html"]


def test_the_patients_sides_are_said_of_scans_alone(tmp_path: Path) -> None:
    """Check that photographs with a pixel size have no sides either."""
    scan = CaseResult("a", "done", "a_seg.nii.gz", volumes_ml={"left": 1.0})
    photograph = CaseResult("b", "done", "b_seg.png", area_mm2={"left": 1.0}, is_picture=True)
    said = [
        write_contact_sheet(results, tmp_path, {1: "left"}).read_text()
        for results in ([photograph], [scan], [scan, photograph])
    ]
    assert ["patient's right" in text for text in said] == [False, True, True]
    assert ["as they were taken" in text for text in said] == [False, False, True]
