"""Page with all pictures of a run, which opens without a server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from monai_semiseg.export.report import CaseResult, count_statuses
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
    """Write ``index.html``: scans without a mask, then a picture per scan, flagged ones first.

    Pictures are linked by relative paths, so the folder can be moved as a whole.
    """
    done = [result for result in results if result.status == "done"]
    done.sort(key=lambda result: (not result.flags, not result.reason, result.output))
    counts = ", ".join(f"{count} {status}" for status, count in count_statuses(results).items())
    figures = "".join(_figure(result, folder, names) for result in done)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Masks</title>'
        f"<style>{_STYLE}</style><h1>Masks</h1><p>{counts}. Research use only.</p>"
        f"<p>The patient's right is on the left of the pictures.</p>{_without_mask(results)}"
        f'<div class="grid">{figures}</div></html>\n'
    )
    return write_atomically(folder / "index.html", page)


def _without_mask(results: Sequence[CaseResult]) -> str:
    """Return a table of the scans that failed, or were left out because of their flags."""
    rows = ""
    for result in results:
        if result.status == "failed" or (result.flags and result.status == "skipped"):
            cells = f"<td>{as_html(result.input)}</td><td>{as_html(result.reason)}</td>"
            rows += f"<tr>{cells}</tr>"
    if not rows:
        return ""
    head = '<h2 class="failed">Without a mask</h2>'
    return f"{head}<table><tr><th>scan</th><th>why</th></tr>{rows}</table>"


def preview_of(output: str) -> str:
    """Return the path of the picture of a mask."""
    stem = output.removesuffix(".nii.gz").removesuffix(".dcm").removesuffix("_seg")
    return f"{stem}_preview.png"


def _figure(result: CaseResult, folder: Path, names: Mapping[int, str]) -> str:
    volumes = ", ".join(
        f"{name} {result.volumes_ml[name]:.2f} mL"
        for name in names.values()
        if name in result.volumes_ml
    )
    picture = preview_of(result.output)
    image = ""
    if (folder / picture).is_file():
        image = f'<img loading="lazy" src="{_link(picture)}" alt="">'
    marked = ' class="flagged"' if result.flags else ""
    flags = f"<br><b>flagged: {as_html(', '.join(result.flags))}</b>" if result.flags else ""
    remark = f"<br><b>{as_html(result.reason)}</b>" if result.reason else ""
    name = f'<a href="{_link(result.output)}">{as_html(result.output)}</a>'
    caption = f"{name}<br>{as_html(volumes)}{flags}{remark}"
    return f"<figure{marked}>{image}<figcaption>{caption}</figcaption></figure>"


def _link(path: str) -> str:
    """Return a relative path for a page; a name that is not UTF-8 keeps its bytes."""
    return quote(os.fsencode(path))
