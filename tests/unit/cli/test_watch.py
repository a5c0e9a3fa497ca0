from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from cli.watch import Arrivals, answers, sort, tag
from scratch import Client

RESULT = {"pred": "scratches", "prob_no_scratches": 0.25, "prob_scratches": 0.75}
PROBLEM = {"code": "unsupported_image", "detail": "No image.", "title": "?"}


def service(request: httpx.Request) -> httpx.Response:
    """Scratched is what has an `s`; `text` is refused; `down` finds it broken."""
    if request.method == "POST":
        if b"text" in request.content:
            return httpx.Response(415, json=PROBLEM)
        if b"down" in request.content:
            return httpx.Response(500, json={**PROBLEM, "code": "internal_error"})
        return httpx.Response(202, json={"task_id": "t1"})
    return httpx.Response(
        200, json={"task_id": "t1", "status": "done", "result": RESULT, "model": "m@1"}
    )


@pytest.fixture
def client() -> Client:
    return Client(transport=httpx.MockTransport(service))


def put(folder: Path, **photos: str) -> list[Path]:
    files = [folder / f"{name}.jpg" for name in photos]
    for file, content in zip(files, photos.values(), strict=True):
        file.write_text(content)
    return files


def test_a_photo_that_is_still_being_written_waits(tmp_path: Path) -> None:
    (photo,) = put(tmp_path, a="half")
    arrivals = Arrivals(tmp_path)

    assert arrivals.look() == []
    photo.write_text("half and half")
    assert arrivals.look() == []
    assert arrivals.look() == [photo]


def test_a_tag_is_written_once_and_a_restart_goes_on(tmp_path: Path, client: Client) -> None:
    photo, text, down = put(tmp_path, photo="pixels", text="text", down="down")

    told = {Path(a["file"]).stem: a for a in answers(client, tmp_path, [photo, text, down], tag)}

    assert told["photo"]["pred"] == "scratches"
    assert json.loads((tmp_path / "photo.jpg.scratch.json").read_text())["prob_scratches"] == 0.75
    refused = json.loads((tmp_path / "text.jpg.scratch.json").read_text())
    assert refused["error"]["code"] == "unsupported_image"
    assert told["down"]["error"]["code"] == "internal_error"
    again = Arrivals(tmp_path)
    again.look()
    assert again.look() == [down]


def test_sorting_moves_and_never_overwrites(tmp_path: Path, client: Client) -> None:
    (tmp_path / "left").mkdir()
    files = [*put(tmp_path, photo="new", text="text"), *put(tmp_path / "left", photo="deep")]
    (tmp_path / "scratches").mkdir()
    put(tmp_path / "scratches", photo="old")

    list(answers(client, tmp_path, files, sort))

    found = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*.jpg")}
    assert found == {
        "scratches/photo.jpg": "old",
        "scratches/photo-2.jpg": "new",
        "scratches/left/photo.jpg": "deep",
        "refused/text.jpg": "text",
    }
    again = Arrivals(tmp_path)
    again.look()
    assert again.look() == []


def test_an_unreachable_service_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scratch.protocol._PAUSE_S", 0)

    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    (photo,) = put(tmp_path, photo="pixels")
    client = Client(transport=httpx.MockTransport(nobody))
    (told,) = answers(client, tmp_path, [photo], sort)

    assert told["error"]["code"] == "service_unreachable"
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]
