from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.checkpoints import tiny_checkpoint


@pytest.fixture(scope="session")
def _pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny", openvino=True, grids=(1, 2))


@pytest.fixture
def checkpoint(_pristine: Path, tmp_path: Path) -> Path:
    """A copy of one's own, with an OpenVINO graph and five views."""
    return Path(shutil.copytree(_pristine, tmp_path / "tiny"))
