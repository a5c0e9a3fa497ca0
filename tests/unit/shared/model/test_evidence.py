"""That the shares of all positions add up to the answer, and lie where they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shared.errors import CheckpointError
from shared.model.classifier import FeatureExtractor, Head
from shared.model.evidence import HEATMAP_SIDE, EvidenceReader, Floats, Trace
from shared.model.heatmap import Heatmap
from shared.model.labels import NO_SCRATCHES, SCRATCHES
from shared.model.manifest import Features, Preprocess, load_manifest
from shared.model.runtime import RuntimeName, open_runtime

CHANNELS = (3, 5)
SIDES = (8, 4)
FEATURES = 2 * sum(CHANNELS)


def spec(*grids: int) -> Preprocess:
    return Preprocess(size=32, grids=grids, mean=(0, 0, 0), std=(1, 1, 1))


def seen(views: int, seed: int = 0) -> tuple[Floats, tuple[Floats, ...]]:
    """Maps, and their pooled features."""
    rng = np.random.default_rng(seed)
    maps = tuple(
        rng.normal(size=(views, channels, side, side)).astype(np.float32)
        for channels, side in zip(CHANNELS, SIDES, strict=True)
    )
    pooled = [part for level in maps for part in (level.mean((2, 3)), level.max((2, 3)))]
    return np.concatenate(pooled, 1), maps


def a_head(folder: Path, features: int, hidden: int) -> tuple[Head, Path]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        head = Head(features, hidden)
        head.shift.copy_(torch.randn(features))
        head.scale.copy_(torch.rand(features) + 0.5)
    save_file(head.state_dict(), folder / "head.safetensors")
    return head, folder / "head.safetensors"


@pytest.mark.parametrize("grids", [(1,), (1, 2)])
@pytest.mark.parametrize("hidden", [0, 16])
def test_the_shares_add_up_to_the_margin(
    grids: tuple[int, ...], hidden: int, tmp_path: Path
) -> None:
    """Up to what the head says about features that are all as usual, which has no place."""
    views = sum(grid * grid for grid in grids)
    head, file = a_head(tmp_path, FEATURES * (3 if views > 1 else 1), hidden)
    pooled, maps = seen(views)
    extractor = FeatureExtractor(torch.nn.Identity(), spec(*grids), Features())
    features = extractor.combined(torch.from_numpy(pooled)[None]).requires_grad_()
    logits = head(features)[0]
    margin = logits[SCRATCHES] - logits[NO_SCRATCHES]
    (gradient,) = torch.autograd.grad(margin, features)
    placed = float((gradient * (features - head.shift)).sum().detach())

    levels = EvidenceReader(file, spec(*grids)).contributions(
        Trace(logits.detach().numpy(), pooled, maps)
    )

    assert [level.shape for level in levels] == [(views, side, side) for side in SIDES]
    assert sum(float(level.sum()) for level in levels) == pytest.approx(placed, rel=1e-3)


def test_a_place_that_alone_speaks_for_a_scratch_is_the_hottest(tmp_path: Path) -> None:
    """In the lower right tile of five views; the feature counts for `scratches` only."""
    head = Head(3 * 2)
    with torch.no_grad():
        head.layers[0].weight.copy_(torch.stack([-torch.ones(6), torch.ones(6)]))
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    maps = np.zeros((5, 1, 8, 8), np.float32)
    maps[4, 0, 6, 2] = 5  # of that tile: 81 % down, 31 % right
    pooled = np.concatenate([maps.mean((2, 3)), maps.max((2, 3))], 1)
    reader = EvidenceReader(tmp_path / "head.safetensors", spec(1, 2))

    x, y = Heatmap(reader.heatmap(Trace(np.zeros(2, np.float32), pooled, (maps,)))).hottest

    assert (x, y) == pytest.approx((0.5 + 0.31 / 2, 0.5 + 0.81 / 2), abs=0.03)


def test_a_checkpoint_without_maps_has_an_even_heatmap(tmp_path: Path) -> None:
    _, file = a_head(tmp_path, 4, 0)
    trace = Trace(np.zeros(2, np.float32), np.ones((1, 4), np.float32), ())
    cells = EvidenceReader(file, spec(1)).heatmap(trace)

    assert cells.shape == (HEATMAP_SIDE, HEATMAP_SIDE)
    assert not cells.any()


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_bytes(b"nothing")

    with pytest.raises(CheckpointError, match="not a head"):
        EvidenceReader(tmp_path / "head.safetensors", spec(1))


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_tracing_changes_no_answer(name: RuntimeName, checkpoint: Path) -> None:
    runtime = open_runtime(checkpoint, load_manifest(checkpoint), name=name)
    views = np.random.default_rng(1).integers(0, 256, (3, 5, 64, 64, 3), np.uint8)

    traces = runtime.trace(views)

    np.testing.assert_allclose([t.logits for t in traces], runtime.forward(views), atol=1e-4)


def test_both_runtimes_trace_the_same(checkpoint: Path) -> None:
    manifest = load_manifest(checkpoint)
    views = np.random.default_rng(2).integers(0, 256, (2, 5, 64, 64, 3), np.uint8)
    torch_, openvino = (
        open_runtime(checkpoint, manifest, name=name).trace(views) for name in ("torch", "openvino")
    )

    for reference, found in zip(torch_, openvino, strict=True):
        np.testing.assert_allclose(found.pooled, reference.pooled, atol=1e-3)
        assert len(found.maps) == len(reference.maps) == len(manifest.features.depths)
        for ours, theirs in zip(found.maps, reference.maps, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)
