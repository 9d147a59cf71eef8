"""All pictures of a run on one page that opens without a server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from monai_semiseg.export.report import CaseResult
from monai_semiseg.plain_text import as_html
from monai_semiseg.storage.files import write_atomically

_STYLE = """
body { font: 14px sans-serif; margin: 2em; background: #fff; color: #222 }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 1em }
figure { margin: 0; border: 1px solid #ccc; padding: .5em } figure img { width: 100% }
.flagged { border: 2px solid #b35c00 } .failed { color: #b00020 }
td, th { padding: .2em .8em; text-align: left }
"""


def write_contact_sheet(
    results: Sequence[CaseResult],
    folder: Path,
    names: Mapping[int, str],
) -> Path:
    """Write ``index.html``: what has no mask, then a picture per scan, those with flags first.

    Pictures are linked by relative paths, so the folder can be moved as a whole.
    """
    done = sorted(
        (r for r in results if r.status == "done"),
        key=lambda r: (not r.flags, not r.reason, r.output),
    )
    failed = [r for r in results if r.status == "failed" or (r.flags and r.status == "skipped")]
    counts = ", ".join(
        f"{sum(r.status == s for r in results)} {s}" for s in ("done", "failed", "skipped")
    )
    rows = "".join(
        f"<tr><td>{as_html(r.input)}</td><td>{as_html(r.reason)}</td></tr>" for r in failed
    )
    table = (
        '<h2 class="failed">Without a mask</h2>'
        f"<table><tr><th>scan</th><th>why</th></tr>{rows}</table>"
        if failed
        else ""
    )
    figures = "".join(_figure(result, folder, names) for result in done)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Masks</title><style>{_STYLE}</style>'
        f"<h1>Masks</h1><p>{counts}. Research use only.</p>"
        f"<p>The patient's right is on the left of the pictures.</p>{table}"
        f'<div class="grid">{figures}</div></html>\n'
    )
    return write_atomically(folder / "index.html", page)


def preview_of(output: str) -> str:
    """Where the picture of a mask lies."""
    stem = output.removesuffix(".nii.gz").removesuffix(".dcm").removesuffix("_seg")
    return f"{stem}_preview.png"


def _figure(result: CaseResult, folder: Path, names: Mapping[int, str]) -> str:
    volumes = ", ".join(
        f"{name} {result.volumes_ml[name]:.2f} mL"
        for name in names.values()
        if name in result.volumes_ml
    )
    picture = preview_of(result.output)
    image = (
        f'<img loading="lazy" src="{_link(picture)}" alt="">'
        if (folder / picture).is_file()
        else ""
    )
    marked = ' class="flagged"' if result.flags else ""
    flags = f"<br><b>flagged: {as_html(', '.join(result.flags))}</b>" if result.flags else ""
    remark = f"<br><b>{as_html(result.reason)}</b>" if result.reason else ""
    name = f'<a href="{_link(result.output)}">{as_html(result.output)}</a>'
    caption = f"{name}<br>{as_html(volumes)}{flags}{remark}"
    return f"<figure{marked}>{image}<figcaption>{caption}</figcaption></figure>"


def _link(path: str) -> str:
    """A relative path for a page; a name that is not UTF-8 keeps its bytes."""
    return quote(os.fsencode(path))
