"""Images in a folder and behind a URL."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from shared.errors import HistoryUnavailable
from shared.history.files import ImageFiles
from shared.settings import Settings


@pytest.fixture(params=["", "file://{}/elsewhere", "{}/plain", "memory://bucket/prefix"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> ImageFiles:
    url = request.param.format(tmp_path)
    return ImageFiles(Settings(_env_file=None, data_dir=tmp_path, history_files=url))


def test_what_was_written_is_read_until_it_is_deleted(files: ImageFiles) -> None:
    files.write("2027-01-15/a", b"one")
    files.write("2027-01-15/a", b"two")

    assert files.read("2027-01-15/a") == b"two"
    files.delete("2027-01-15/a")
    assert files.read("2027-01-15/a") is None
    files.delete("2027-01-15/a")


def test_a_url_is_where_it_says(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, history_files="memory://bucket/prefix")
    ImageFiles(settings).write("day/b", b"b")

    assert fsspec.filesystem("memory").cat_file("/bucket/prefix/day/b") == b"b"
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_away_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url in (str(tmp_path / "file"), "nosuchstore://bucket"):
        files = ImageFiles(Settings(_env_file=None, data_dir=tmp_path, history_files=url))
        with pytest.raises(HistoryUnavailable):
            files.write("a/b", b"")
