"""Page with all pictures of a run, which opens without a server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from monai_semiseg.datasets.label_values import foreground_of
from monai_semiseg.export.doubt import by_doubt
from monai_semiseg.export.output_paths import previews_of
from monai_semiseg.export.report import CaseResult, count_statuses
from monai_semiseg.plain_text import as_html, printable
from monai_semiseg.storage.files import write_atomically

_PAGE = 500  # pictures of a page
_MOST_ROWS = 500  # of the table
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
    """Write ``index.html``: scans without a mask, then a picture per scan, most doubtful first.

    A script in the page filters its pictures and orders them by the size of a label. Pictures are
    linked by relative paths, so the folder can be moved as a whole. A browser cannot show thousands
    of them: each 500 have a page of their own, ``index_2.html`` and so on.

    Returns:
        The first page.
    """
    done = by_doubt(result for result in results if result.status == "done")
    counts = ", ".join(f"{count} {status}" for status, count in count_statuses(results).items())
    script = (files(__package__) / "contact_sheet.js").read_text()
    pages = [done[first : first + _PAGE] for first in range(0, max(1, len(done)), _PAGE)]
    for number, shown in enumerate(pages, 1):
        links = _page_links(number, len(pages))
        head = f"<p>{counts}. Research use only.</p>{_directions(shown)}"
        head += _without_mask(results) if number == 1 else ""
        head += _tools(names, len(pages) > 1)
        figures = "".join(_figure(result, folder, names) for result in shown)
        write_atomically(
            folder / _page_name(number),
            f'<!doctype html><html lang="en"><meta charset="utf-8">{_policy(script)}'
            f"<title>Masks</title><style>{_STYLE}</style><h1>Masks</h1>{head}{links}"
            f'<div class="grid">{figures}</div>{links}<script>{script}</script></html>\n',
        )
    _remove_pages_after(len(pages), folder)
    return folder / _page_name(1)


def _policy(script: str) -> str:
    """Return the element that lets a browser run this script and no other."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"script-src 'sha256-{digest}'; object-src 'none'; base-uri 'none'; form-action 'none'"
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">'


def _tools(names: Mapping[int, str], has_more_pages: bool) -> str:
    """Return the lists of filters and orders; the script shows them."""
    kinds = {"all": "all", "flagged": "flagged", "remark": "with a remark", "failed": "failed"}
    filters = "".join(f'<option value="{kind}">{words}</option>' for kind, words in kinds.items())
    orders = "<option>most doubtful first</option>"
    for name in map(as_html, foreground_of(names).values()):
        for direction, first in ((1, "smallest"), (-1, "largest")):
            orders += (
                f'<option data-label="{name}" data-direction="{direction}">'
                f"{first} {name} first</option>"
            )
    where = " on this page" if has_more_pages else ""
    return (
        f'<p id="tools" hidden><label>Show <select id="filter">{filters}</select></label> '
        f'<label>Order <select id="order">{orders}</select></label> '
        f'<span id="shown"></span>{where}</p>'
    )


def _page_name(number: int) -> str:
    return "index.html" if number == 1 else f"index_{number}.html"


def _remove_pages_after(number: int, folder: Path) -> None:
    """Remove the further pages of an earlier and longer report."""
    while (page := folder / _page_name(number + 1)).exists():
        page.unlink()
        number += 1


def _page_links(here: int, pages: int) -> str:
    """Return links to all pages; nothing if there is one."""
    if pages == 1:
        return ""
    links = [
        f"<b>{number}</b>" if number == here else f'<a href="{_page_name(number)}">{number}</a>'
        for number in range(1, pages + 1)
    ]
    return f"<p>Page {' '.join(links)}</p>"


def _directions(shown: Sequence[CaseResult]) -> str:
    """Say what is left on the pictures of scans; photographs are as they were taken."""
    if shown and all(result.is_picture for result in shown):
        return ""
    taken = any(result.is_picture for result in shown)
    rest = "; photographs are shown as they were taken" if taken else ""
    return f"<p>The patient's right is on the left of the pictures{rest}.</p>"


def _without_mask(results: Sequence[CaseResult]) -> str:
    """Return a table of the scans that failed, or were left out because of their flags."""
    without = [result for result in results if result.lacks_mask]
    if not without:
        return ""
    rows = "".join(
        f"<tr><td>{as_html(result.input)}</td><td>{as_html(result.reason)}</td></tr>"
        for result in without[:_MOST_ROWS]
    )
    if (more := len(without) - _MOST_ROWS) > 0:
        rows += f"<tr><td>and {more} more</td><td>see report.csv</td></tr>"
    head = '<h2 class="failed">Without a mask</h2>'
    table = f"<table><tr><th>scan</th><th>why</th></tr>{rows}</table>"
    return f'<div id="without">{head}{table}</div>'


def _figure(result: CaseResult, folder: Path, names: Mapping[int, str]) -> str:
    sizes = result.sizes
    listed = ", ".join(
        f"{name} {sizes.kind.text(sizes[name])}" for name in names.values() if name in sizes
    )
    image = ""
    for picture in previews_of(result.output):
        if (folder / picture).is_file():
            image = f'<img loading="lazy" src="{_link(picture)}" alt="">'
    marked = ' class="flagged"' if result.flags else ""
    marked += " data-remark" if result.reason else ""
    marked += f' data-sizes="{as_html(json.dumps(_safe_names(sizes)))}"'
    flags = f"<br><b>flagged: {as_html(', '.join(result.flags))}</b>" if result.flags else ""
    remark = f"<br><b>{as_html(result.reason)}</b>" if result.reason else ""
    name = f'<a href="{_link(result.output)}">{as_html(result.output)}</a>'
    caption = f"{name}<br>{as_html(listed)}{flags}{remark}"
    return f"<figure{marked}>{image}<figcaption>{caption}</figcaption></figure>"


def _safe_names(sizes: Mapping[str, float]) -> dict[str, float]:
    """Return sizes by the names that the page shows."""
    return {printable(name): size for name, size in sizes.items()}


def _link(path: str) -> str:
    """Return a relative path for a page; a name that is not UTF-8 keeps its bytes."""
    return quote(os.fsencode(path))
