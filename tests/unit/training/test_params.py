"""params.yaml says all that the stages read, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.params import Tower, load_params

PARAMS = Path(__file__).parents[3] / "params.yaml"


def test_the_projects_own_file_is_understood() -> None:
    assert load_params(PARAMS).export.name == "scratch-lite"


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.read_text().replace("  epochs:", "  epoch:"))
    with pytest.raises(ValueError, match="epoch"):
        load_params(path)


@pytest.mark.parametrize("source", [{}, {"tag": "a", "timm": "b"}])
def test_a_tower_has_one_source(source: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either"):
        Tower(model="x", **source)
