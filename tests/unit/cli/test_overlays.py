from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.overlays import Overlays
from cli.predict import predict
from shared.model.heatmap import Heatmap
from shared.model.preprocess import ImageLimits
from shared.settings import Settings
from tests.checkpoints import tiny_checkpoint


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


def test_photos_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    files = [Path("left/door.png"), Path("right/door.png")]
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "grey").save(buffer, "PNG")
    overlays = Overlays(tmp_path, files, ImageLimits())
    heatmap = Heatmap(np.eye(4, dtype=np.float32))

    written = [overlays.write(file, buffer.getvalue(), heatmap) for file in files]

    assert [path.name for path in written] == ["door.jpg", "door-2.jpg"]
    assert all(size_of(path) == (60, 40) for path in written)


def test_predict_writes_what_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ckpt = tiny_checkpoint(tmp_path / "tiny")
    photo = tmp_path / "photo.png"
    Image.new("RGB", (90, 60), "grey").save(photo)
    settings = Settings(_env_file=None, runtime="torch")

    code = predict([photo], settings, ckpt=ckpt, as_json=True, explain=tmp_path / "out")

    answer = json.loads(capsys.readouterr().out)
    assert code == 0
    assert answer["overlay"] == str(tmp_path / "out" / "photo.jpg")
    assert size_of(Path(answer["overlay"])) == (90, 60)
    assert all(0 <= share <= 1 for share in answer["hottest"])
