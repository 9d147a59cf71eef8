"""The weights verb: inspect, convert, match."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from safetensors.torch import load_file

from monai_semiseg.cli.main import main
from monai_semiseg.storage.files import sha256_of

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "semisupervised_baselines"


def network(dims: int = 3, outputs: int = 3) -> torch.nn.Module:
    parser = ConfigParser(ConfigParser.load_config_file(str(BUNDLE / "configs" / "inference.json")))
    parser["spatial_dims"] = dims
    parser["out_channels"] = outputs
    return parser.get_parsed_content("network_def")  # type: ignore[no-any-return]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(
        {f"module.{name}": value for name, value in network().state_dict().items()},
        tmp_path / "model.pt",
    )
    return tmp_path / "model.pt"


def test_inspect(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "inspect", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "conv_0.conv_0.conv.weight",
        "float32",
        "16",
        "x",
        "1",
        "x",
        "3",
        "x",
        "3",
        "x",
        "3",
    ]
    assert f"{len(network().state_dict())} tensors" in lines[-1] and sha256_of(file) in lines[-1]


def test_convert_to_safetensors_and_back(file: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "w.safetensors", tmp_path / "b.pt"
    assert main(["weights", "convert", str(file), "--output", str(there)]) == 0
    assert main(["weights", "convert", str(there), "--output", str(back)]) == 0
    plain = torch.load(back, weights_only=True)
    network().load_state_dict(plain)
    assert all(torch.equal(value, plain[name]) for name, value in load_file(there).items())


def test_convert_to_two_axes_and_half_precision(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "flat.pt"
    more = ["--bundle", str(BUNDLE), "--spatial_dims", "2", "--half"]
    assert main(["weights", "convert", str(file), "--output", str(out), *more]) == 0
    flat = network(2)
    flat.load_state_dict(torch.load(out, weights_only=True))
    total = len(flat.state_dict())
    assert f"{total} of the network's {total} tensors filled, 0 left out" in capsys.readouterr().out
    assert out.stat().st_size < file.stat().st_size / 4


def test_convert_to_more_channels(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "four.pt"
    more = ["--bundle", str(BUNDLE), "--in_channels", "4"]
    assert main(["weights", "match", str(file), *more]) == 0
    assert main(["weights", "convert", str(file), "--output", str(out), *more]) == 0
    kernels = [torch.load(path, weights_only=True) for path in (file, out)]
    first, four = (next(iter(state.values())) for state in kernels)
    assert torch.equal(four, torch.cat([first / 4] * 4, 1))
    assert caplog.text.count("kernels of 1 channel repeated for 4 and divided by 4") == 2


def test_an_encoder_alone(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder.pt"
    assert (
        main(
            [
                "weights",
                "convert",
                str(file),
                "--output",
                str(out),
                "--only",
                "conv_0*",
                "--only",
                "down_*",
            ]
        )
        == 0
    )
    kept = torch.load(out, weights_only=True)
    assert {name.split(".")[0] for name in kept} == {"conv_0", *(f"down_{n}" for n in range(1, 5))}
    whole = network().state_dict()
    assert all(value.shape == whole[name].shape for name, value in kept.items())
    assert main(["weights", "convert", str(file), "--output", str(out), "--only", "encoder*"]) == 2


def test_match(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    total = len(network().state_dict())
    assert main(["weights", "match", str(file), "--bundle", str(BUNDLE)]) == 0
    assert f"{total} of {total} tensors loaded" in capsys.readouterr().out
    torch.save(network(outputs=5).state_dict(), tmp_path / "five.pt")
    assert main(["weights", "match", str(tmp_path / "five.pt"), "--bundle", str(BUNDLE)]) == 0
    assert f"{total - 2} of {total}" in capsys.readouterr().out
    assert (
        main(
            [
                "weights",
                "match",
                str(file),
                "--bundle",
                str(BUNDLE),
                "--rename",
                "conv_0.=stem.",
                "--rename",
                "stem.=conv_0.",
            ]
        )
        == 0
    )
    assert f"{total} of {total}" in capsys.readouterr().out
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    assert main(["weights", "match", str(tmp_path / "other.pt"), "--bundle", str(BUNDLE)]) == 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["convert"], "without --output"),
        (["match"], "no network"),
        (["inspect", "--rename", "x"], "OLD=NEW"),
        (["inspect", "--rename", "none.=x."], "no tensor name begins with 'none.'"),
    ],
)
def test_bad_requests(
    more: list[str], words: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", more[0], str(file), *more[1:]]) == 2
    assert words in capsys.readouterr().err


def test_foreign_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Unwrap what is known; all else ends with exit code 2 and what to do."""
    lightning = {f"model.{name}": value for name, value in network().state_dict().items()}
    torch.save({"state_dict": lightning}, tmp_path / "lightning.pt")
    torch.save(network(), tmp_path / "pickled.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(network(outputs=7).state_dict(), tmp_path / "classes.pt")
    match = ["weights", "match", "--bundle", str(BUNDLE)]
    assert main([*match, str(tmp_path / "lightning.pt")]) == 0
    assert "missing" not in capsys.readouterr().out and "'model.' is removed" in caplog.text
    for name in ("pickled", "list"):
        assert main([*match, str(tmp_path / f"{name}.pt")]) == 2
        assert "torch.save(network.state_dict()" in capsys.readouterr().err
    scan = BUNDLE.parents[1] / "sample_data" / "scans" / "dicom" / "series_b"
    for name in ("pickled", "list", "classes"):
        command = ["predict", str(scan), "--output", str(tmp_path / "out"), "--bundle", str(BUNDLE)]
        assert main([*command, "--weights", str(tmp_path / f"{name}.pt"), "--device", "cpu"]) == 2
        assert "to do: " in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.nii.gz"))
