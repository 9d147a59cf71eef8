"""All pictures of a run on one page that opens without a server."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from monai_semiseg.export.report import CaseResult
from monai_semiseg.storage.files import write_atomically

_STYLE = """
body { font: 14px sans-serif; margin: 2em; background: #fff; color: #222 }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 1em }
figure { margin: 0; border: 1px solid #ccc; padding: .5em } figure img { width: 100% }
.marked { border: 2px solid #b35c00 } .failed { color: #b00020 } td, th { padding: .2em .8em; text-align: left }
"""


def write_contact_sheet(
    results: Sequence[CaseResult],
    folder: Path,
    names: Mapping[int, str],
    marks: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write ``index.html``: what failed, then a picture per scan, those with remarks or marks first.

    Pictures are linked by relative paths, so the folder can be moved as a whole.
    """
    remarks = {
        r.input: "; ".join([*([r.reason] if r.reason else []), *(marks or {}).get(r.input, [])])
        for r in results
    }
    done = sorted(
        (r for r in results if r.status == "done"), key=lambda r: (not remarks[r.input], r.output)
    )
    failed = [r for r in results if r.status == "failed"]
    counts = ", ".join(
        f"{sum(r.status == s for r in results)} {s}" for s in ("done", "failed", "skipped")
    )
    rows = "".join(
        f"<tr><td>{html.escape(r.input)}</td><td>{html.escape(r.reason)}</td></tr>" for r in failed
    )
    table = (
        f'<h2 class="failed">Failed</h2><table><tr><th>scan</th><th>why</th></tr>{rows}</table>'
        if failed
        else ""
    )
    figures = "".join(_figure(result, folder, names, remarks[result.input]) for result in done)
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


def _figure(result: CaseResult, folder: Path, names: Mapping[int, str], note: str) -> str:
    volumes = ", ".join(
        f"{name} {result.volumes_ml[name]:.2f} mL"
        for name in names.values()
        if name in result.volumes_ml
    )
    picture = preview_of(result.output)
    image = (
        f'<img loading="lazy" src="{quote(picture)}" alt="">'
        if (folder / picture).is_file()
        else ""
    )
    mark = ' class="marked"' if note else ""
    remark = f"<br><b>{html.escape(note)}</b>" if note else ""
    name = f'<a href="{quote(result.output)}">{html.escape(result.output)}</a>'
    return f"<figure{mark}>{image}<figcaption>{name}<br>{html.escape(volumes)}{remark}</figcaption></figure>"
