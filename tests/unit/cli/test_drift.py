"""`scratch drift`, and `scratch retrain --if-drift`."""

from __future__ import annotations

import json
import time

import fakeredis
import pytest

from cli import drift, retrain
from shared.drift import DriftReport, DriftStore
from shared.settings import Settings

SETTINGS = Settings(_env_file=None)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> DriftStore:
    redis = fakeredis.FakeRedis()
    for module in (drift, retrain):
        monkeypatch.setattr(module, "open_redis", lambda _: redis)
    return DriftStore(redis)


def report(worker: str, state: str) -> DriftReport:
    return DriftReport(
        worker=worker,
        model="m@1",
        state=state,
        windows=2,
        at=time.time(),
        images=256,
        moved=[] if state == "steady" else ["axis_0"],
        scratch_rate=0.1,
        usual_rate=0.05,
    )


def test_what_workers_saw_is_shown(store: DriftStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.write(report("w@h", "material"))

    assert drift.show(SETTINGS, as_json=False) == 0
    said = capsys.readouterr().out
    assert "w@h with m@1: material for 2 window(s); of 256 images 10.0% scratched" in said
    assert "(usually 5.0%); moved: axis_0" in said and "retrain: yes" in said

    assert drift.show(SETTINGS, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["retrain"] and found["workers"][0]["state"] == "material"


@pytest.mark.usefixtures("store")
def test_nothing_seen_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert drift.show(SETTINGS, as_json=False) == 0
    assert "no worker has closed a window yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("states", "trained", "said"),
    [
        ([], False, "not retraining: no lasting drift"),
        (["steady"], False, "not retraining: no lasting drift"),
        (["material"], True, "retraining: the photos have changed"),
        (["material", "camera"], False, "not retraining: held back: the camera seems off"),
    ],
)
def test_retraining_waits_for_drift_and_for_the_camera(
    store: DriftStore,
    capsys: pytest.CaptureFixture[str],
    states: list[str],
    trained: bool,
    said: str,
) -> None:
    for number, state in enumerate(states):
        store.write(report(f"w{number}@h", state))
    runs: list[int] = []

    def train() -> int:
        runs.append(1)
        return 7

    assert retrain.retrain_if_drifted(SETTINGS, train) == (7 if trained else 0)
    assert len(runs) == trained and capsys.readouterr().out.startswith(said)
