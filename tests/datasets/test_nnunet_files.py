"""Files and code of nnU-Net."""

from __future__ import annotations

import pytest

from monai_semiseg.datasets.nnunet_files import nnunet_module
from monai_semiseg.errors import ConfigError


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'monai_semiseg\[nnunet\]'"):
        nnunet_module("nnunetv2_of_another_planet.plans")
