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


@pytest.mark.parametrize("preset", sorted((PARAMS.parent / "presets").glob("*.yaml")))
def test_a_preset_differs_from_its_base_only_where_it_says_so(preset: Path) -> None:
    base, found = load_params(PARAMS), load_params(preset)
    assert found != base
    assert found.embed.preprocess.mean == base.embed.preprocess.mean
    same = {"preprocess": base.embed.preprocess, "features": base.embed.features}
    embed = found.embed.model_copy(update=same)
    assert found.model_copy(update={"embed": embed, "build": base.build}) == base
    assert found.build.finer == ()  # a preset is one size, and means it


def test_a_preset_names_its_base(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"base: {PARAMS}\ntrain: {{hidden: 7, nothing: 1}}\n")
    with pytest.raises(ValueError, match="nothing"):
        load_params(tmp_path / "own.yaml")
    (tmp_path / "own.yaml").write_text(f"base: {PARAMS}\ntrain: {{hidden: 7}}\n")
    found, base = load_params(tmp_path / "own.yaml"), load_params(PARAMS)
    assert found.train == base.train.model_copy(update={"hidden": 7})
    (tmp_path / "own.yaml").write_text("base: missing.yaml\n")
    with pytest.raises(OSError, match="missing"):
        load_params(tmp_path / "own.yaml")


@pytest.mark.parametrize("text", ["", "[]", "nothing", "3"])
def test_a_file_without_sections_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match="Params"):
        load_params(tmp_path / "own.yaml")


@pytest.mark.parametrize("source", [{}, {"tag": "a", "timm": "b"}])
def test_a_tower_has_one_source(source: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either"):
        Tower(model="x", **source)
