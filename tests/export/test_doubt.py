"""The order of doubt: flags, remarks, uncertainty, pieces, name."""

from __future__ import annotations

import random

from monai_semiseg.export.doubt import by_doubt, uncertainty_of
from monai_semiseg.export.report import CaseResult


def result(name: str, **more: object) -> CaseResult:
    return CaseResult(f"in/{name}", "done", f"{name}_seg.nii.gz", **more)  # type: ignore[arg-type]


def test_the_order_does_not_depend_on_the_order_of_the_run() -> None:
    expected = [
        result("two_flags", flags=["a", "b"]),
        result("flag_uncertain", flags=["a"], measures={"left": {"mean_uncertainty": 0.5}}),
        result("flag", flags=["a"]),
        result("remark", reason="W_CONSTANT"),
        result(
            "uncertain",
            measures={"left": {"mean_uncertainty": 0.1}, "right": {"mean_uncertainty": 0.4}},
        ),
        result(
            "less", measures={"left": {"mean_uncertainty": 0.3}, "right": {"mean_uncertainty": 0.3}}
        ),
        result(
            "pieces", measures={"left": {"largest_share": 0.4}, "right": {"largest_share": 1.0}}
        ),
        result("a", measures={"left": {"largest_share": 0.9}}),
        result("b", measures={"left": {"largest_share": 0.9}}),
        result("nothing"),
    ]
    shuffled = random.Random(0).sample(expected, len(expected))
    assert by_doubt(shuffled) == expected
    assert [uncertainty_of(one) for one in expected[4:7]] == [0.4, 0.3, 0.0]
