"""A tower becomes a graph once; a checkpoint that has it already spares even that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training import extractor, graph
from training.extractor import GRAPH, identity_of, provide, read_spec
from training.params import Params
from training.verdict import Verdict
from training.workspace import Workspace

Built = tuple[Verdict, Workspace]


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("made a graph anew")

    monkeypatch.setattr(graph, "to_openvino", fail)


def test_a_kept_graph_is_used_again(
    built: Built, params: Params, tmp_path: Path, no_export: None
) -> None:
    work = Workspace(tmp_path / "other", cache=built[1].cache)
    spec = provide(params.embed, work)
    assert identity_of(work.extractor, spec) == identity_of(
        built[1].extractor, read_spec(built[1].extractor)
    )


def test_a_checkpoint_lends_its_tower(
    built: Built,
    params: Params,
    work: Workspace,
    no_export: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provide(params.embed, work, built[0].checkpoint)
    monkeypatch.setattr(graph, "without_head", None)  # it is cut once, and kept
    provide(params.embed, work, built[0].checkpoint)
    views = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64, 3), np.uint8)
    lent, made = (graph.Graph(w.extractor / GRAPH)(views) for w in (work, built[1]))
    np.testing.assert_allclose(lent, made, atol=1e-5)


def test_a_checkpoint_of_another_tower_lends_nothing(
    built: Built, params: Params, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def kept(wanted: object, cache: Path) -> Path:
        asked.append(wanted)
        return built[1].extractor

    monkeypatch.setattr(extractor, "_made", kept)
    smaller = params.embed.preprocess.model_copy(update={"size": 96})
    other = params.embed.model_copy(update={"preprocess": smaller})
    provide(other, work, built[0].checkpoint)
    provide(params.embed, work, work.root / "no checkpoint")
    assert asked == [other, params.embed]
