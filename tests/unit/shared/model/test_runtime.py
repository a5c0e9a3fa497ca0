"""Which runtime a checkpoint gets, what is refused, and that all of them agree."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from shared.errors import CheckpointError
from shared.model.decode import Pixels
from shared.model.manifest import Manifest, Precision, load_manifest
from shared.model.runtime import RuntimeName, open_runtime
from shared.model.runtime_openvino import with_maps
from shared.model.shared_tower import SideHead


def _views(images: int) -> Pixels:
    return np.random.default_rng(images).integers(0, 256, (images, 5, 64, 64, 3), np.uint8)


def _without_graph(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"openvino": {}})


@pytest.mark.parametrize("images", [1, 2, 5])
def test_openvino_agrees_with_torch(images: int, checkpoint: Path) -> None:
    manifest = load_manifest(checkpoint)
    torch_, openvino = (
        open_runtime(checkpoint, manifest, name=name) for name in ("torch", "openvino")
    )
    expected, found = torch_.forward(_views(images)), openvino.forward(_views(images))
    assert expected.shape == found.shape == (images, 2)
    assert expected.dtype == found.dtype == np.float32
    assert np.abs(expected - found).max() < 1e-4


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_a_batch_does_not_change_an_answer(name: RuntimeName, checkpoint: Path) -> None:
    runtime = open_runtime(checkpoint, load_manifest(checkpoint), name=name)
    together = runtime.forward(_views(4))
    alone = np.concatenate([runtime.forward(view[None]) for view in _views(4)])
    assert np.abs(together - alone).max() < 1e-4
    assert np.array_equal(runtime.forward(_views(4)), together)


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_an_answer_does_not_change_afterwards(name: RuntimeName, checkpoint: Path) -> None:
    runtime = open_runtime(checkpoint, load_manifest(checkpoint), name=name)
    first = runtime.forward(_views(1))
    kept = first.copy()
    runtime.forward(_views(2)[:1])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_the_pass_also_hands_out_what_the_head_sees(name: RuntimeName, checkpoint: Path) -> None:
    manifest = load_manifest(checkpoint)
    runtime = open_runtime(checkpoint, manifest, name=name)

    found = runtime.embed(_views(3))

    features = np.stack([one.features for one in found if one.features is not None])
    assert np.array_equal(runtime.forward(_views(3)), [one.logits for one in found])
    assert np.abs(
        SideHead(checkpoint / manifest.head)(features) - runtime.forward(_views(3))
    ).max() < (1e-4)
    traced = np.stack(
        [one.features for one in runtime.trace(_views(3)) if one.features is not None]
    )
    assert np.abs(traced - features).max() < 1e-3


def test_a_graph_that_does_not_show_its_head_has_no_features(checkpoint: Path) -> None:
    manifest = load_manifest(checkpoint)
    parameter = ov.opset13.parameter([-1, 5, 64, 64, 3], ov.Type.u8)
    means = ov.opset13.reduce_mean(ov.opset13.convert(parameter, "f32"), np.array([1, 2, 3]))
    logits = ov.opset13.slice(means, [0], [2], [1], [1])
    ov.save_model(ov.Model([logits], [parameter]), checkpoint / manifest.openvino["f32"])
    runtime = open_runtime(checkpoint, manifest, name="openvino")

    assert [one.features for one in runtime.embed(_views(2))] == [None, None]
    with pytest.raises(CheckpointError, match="where its head begins"):
        runtime.with_features()


@pytest.fixture
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.usefixtures("_no_gpu")
def test_a_cpu_prefers_openvino_where_there_is_a_graph(checkpoint: Path) -> None:
    manifest = load_manifest(checkpoint)
    assert open_runtime(checkpoint, manifest).variant == "openvino/f32/cpu"
    assert open_runtime(checkpoint, _without_graph(manifest)).variant == "torch/f32/cpu"


@pytest.mark.parametrize(
    ("init", "devices", "runtime"), [(100, 1, "openvino"), (0, 0, "openvino"), (0, 1, "torch")]
)
def test_torch_is_asked_only_where_the_driver_has_a_gpu(
    init: int, devices: int, runtime: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count_devices(pointer: Any) -> int:
        pointer._obj.value = devices
        return 0

    driver = SimpleNamespace(cuInit=lambda flags: init, cuDeviceGetCount=count_devices)
    monkeypatch.setattr("ctypes.CDLL", {"libcuda.so.1": driver}.__getitem__)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    # on this machine the driver is made up, and torch could not move a model to its GPU
    monkeypatch.setattr(
        "shared.model.runtime_torch.TorchRuntime", lambda *_, **__: SimpleNamespace(variant="torch")
    )

    opened = open_runtime(checkpoint, load_manifest(checkpoint))

    assert opened.variant.startswith(runtime)


def test_a_worker_without_a_gpu_never_imports_torch(checkpoint: Path) -> None:
    """It would cost seconds and half a gigabyte; torch is installed where this test runs."""
    script = (
        "import ctypes, sys; from pathlib import Path\n"
        "def no_driver(name): raise OSError(name)\n"
        "import shared.model.inspector, worker.app\n"
        "from shared.model.manifest import load_manifest\n"
        "from shared.model.runtime import open_runtime\n"
        "ctypes.CDLL = no_driver\n"
        "folder = Path(sys.argv[1])\n"
        "print(open_runtime(folder, load_manifest(folder)).variant, 'torch' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, checkpoint], capture_output=True, text=True, check=True
    )
    assert process.stdout.split() == ["openvino/f32/cpu", "False"]


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_bf16_is_used_when_asked_for(name: RuntimeName, checkpoint: Path) -> None:
    manifest = load_manifest(checkpoint)
    runtime = open_runtime(checkpoint, manifest, name=name, precision="bf16")
    assert runtime.variant == f"{name}/bf16/cpu"
    exact = open_runtime(checkpoint, manifest, name=name, precision="f32")
    assert np.abs(runtime.forward(_views(2)) - exact.forward(_views(2))).max() < 0.2


@pytest.mark.parametrize(
    ("processor", "graphs", "tolerances", "chosen"),
    [
        (["FP32", "INT8", "BF16"], ["f32", "int8"], ["f32", "bf16", "int8"], "int8"),
        (["FP32", "INT8", "BF16"], ["f32"], ["f32", "bf16"], "bf16"),
        (["FP32", "BF16"], ["f32", "int8"], ["f32", "bf16", "int8"], "bf16"),
        (["FP32", "INT8", "BF16"], ["f32"], ["f32"], "f32"),
        (["FP32"], ["f32"], ["f32", "bf16"], "f32"),
    ],
)
def test_auto_is_the_fastest_that_processor_and_checkpoint_have(
    processor: list[str],
    graphs: list[str],
    tolerances: list[str],
    chosen: str,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a checkpoint with these graphs on a processor of these capabilities
    manifest = load_manifest(checkpoint).model_copy(
        update={
            "openvino": dict.fromkeys(graphs, "f32.xml"),
            "tolerance": dict.fromkeys(tolerances, 1.0),
        }
    )
    real = ov.Core()
    core = SimpleNamespace(
        get_property=lambda *_: processor,
        read_model=real.read_model,
        # what it would compile is another matter
        compile_model=lambda model, *_: real.compile_model(model, "CPU"),
    )
    monkeypatch.setattr("shared.model.runtime_openvino.ov.Core", lambda: core)
    runtime = open_runtime(checkpoint, manifest, name="openvino", precision="auto")
    assert runtime.variant == f"openvino/{chosen}/cpu"


@pytest.mark.parametrize(
    ("name", "threads"),
    [("torch", 2), ("openvino", 2), ("openvino", 4)],
    ids=["torch", "for one image", "for any number"],
)
def test_it_may_be_called_from_many_threads(
    name: RuntimeName, threads: int, checkpoint: Path
) -> None:
    manifest = load_manifest(checkpoint)
    runtime = open_runtime(checkpoint, manifest, name=name, threads=threads, streams=2)
    batches = [_views(1 + number % 3) for number in range(24)]
    expected = [runtime.forward(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        for found, alone in zip(pool.map(runtime.forward, batches), expected, strict=True):
            np.testing.assert_allclose(found, alone, atol=1e-4)
        traces = list(pool.map(runtime.trace, batches))
    for traced, alone in zip(traces, expected, strict=True):
        np.testing.assert_allclose([trace.logits for trace in traced], alone, atol=1e-4)


def test_a_light_graph_on_streams_of_one_thread_is_for_one_image_and_has_the_next_at_hand(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(checkpoint)

    def batch_and_passes(threads: int, streams: int) -> tuple[int, int]:
        opened = open_runtime(
            checkpoint, manifest, name="openvino", threads=threads, streams=streams
        )
        return opened.batch, opened.passes

    assert (batch_and_passes(2, 2), batch_and_passes(1, 1)) == ((1, 4), (1, 2))
    assert batch_and_passes(4, 2) == (4, 2)
    monkeypatch.setattr("shared.model.runtime_openvino._LIGHT", 0)
    assert batch_and_passes(2, 2) == (8, 2)


def test_streams_are_one_for_each_core_up_to_a_bound(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(checkpoint)

    monkeypatch.setattr("shared.model.runtime_openvino._LIGHT", 0)

    def streams(cores: int, **options: int) -> int:
        monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(cores)))
        return open_runtime(checkpoint, manifest, name="openvino", **options).passes

    assert [streams(cores, streams=0) for cores in (1, 2, 16)] == [1, 2, 4]
    assert streams(16, streams=0, threads=2) == 2
    assert streams(2, streams=3) == 3
    assert streams(8) == 1


@pytest.mark.parametrize("precision", ["int8", "f16"])
def test_openvino_needs_a_graph_of_the_precision(precision: Precision, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=precision):
        open_runtime(checkpoint, load_manifest(checkpoint), name="openvino", precision=precision)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_openvino_needs_a_graph(precision: Precision, checkpoint: Path) -> None:
    manifest = _without_graph(load_manifest(checkpoint))
    with pytest.raises(CheckpointError, match="graph"):
        open_runtime(checkpoint, manifest, name="openvino", precision=precision)


def test_torch_does_not_run_int8(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="int8"):
        open_runtime(checkpoint, load_manifest(checkpoint), name="torch", precision="int8")


def test_a_damaged_graph_is_refused(checkpoint: Path) -> None:
    manifest = load_manifest(checkpoint)
    (checkpoint / "f32.xml").write_text("<net/>")
    with pytest.raises(CheckpointError, match=r"f32\.xml"):
        open_runtime(checkpoint, manifest, name="openvino")


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_a_runtime_that_is_not_installed_is_named(
    name: RuntimeName, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"shared.model.runtime_{name}", raising=False)
    with pytest.raises(CheckpointError, match=f"{name} is not installed"):
        open_runtime(checkpoint, load_manifest(checkpoint), name=name)


def test_maps_are_found_behind_the_rounding_of_an_int8_graph() -> None:
    """As NNCF leaves it: the mean is of the quantised map, the maximum of the map itself."""
    views = ops.parameter([-1, 2, 4, 4], ov.Type.f32)
    map_ = ops.relu(views)
    rounded = ops.fake_quantize(map_, 0.0, 1.0, 0.0, 1.0, 256)
    mean, peak = ops.reduce_mean(rounded, [2, 3]), ops.reduce_max(map_, [2, 3])
    head = ops.relu(ops.concat([mean, peak], 1))
    model = ov.Model([ops.result(head)], [views])

    _, pooled, found = (value.get_node().input_value(0) for value in with_maps(model).outputs)

    assert pooled.get_node().get_type_name() == "Concat"
    assert found.get_node() == map_
