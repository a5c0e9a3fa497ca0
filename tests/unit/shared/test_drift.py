"""Reports in Redis, and when to retrain by itself."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest

from shared.drift import DRIFT_KEY, DriftReport, DriftStore, advise


def report(state: str, **fields: Any) -> DriftReport:
    plain = {
        "worker": "w@h",
        "model": "m@1",
        "state": state,
        "windows": 2,
        "at": 1000.0,
        "images": 256,
        "scratch_rate": 0.1,
    }
    return DriftReport.model_validate(plain | fields)


@pytest.mark.parametrize(
    ("reports", "retrain", "why"),
    [
        ([], False, "no lasting drift"),
        ([report("steady")], False, "no lasting drift"),
        ([report("parts")], False, "no lasting drift"),
        ([report("material", windows=1)], False, "no lasting drift"),
        ([report("material")], True, "have changed"),
        ([report("material"), report("camera", windows=1)], False, "camera"),
    ],
)
def test_another_material_retrains_and_a_camera_holds_it_back(
    reports: list[DriftReport], retrain: bool, why: str
) -> None:
    advice = advise(reports)
    assert advice.retrain == retrain and why in advice.why


def test_reports_are_kept_by_worker_and_forgotten_with_time() -> None:
    store = DriftStore(fakeredis.FakeRedis())
    store.write(report("camera", worker="b"))
    store.write(report("steady", worker="b"))
    store.write(report("material", worker="a", moved=["axis_0"]))

    assert [(r.worker, r.state) for r in store.read(now=1000)] == [
        ("a", "material"),
        ("b", "steady"),
    ]
    later = 1000 + 4 * 24 * 3600.0
    assert store.read(now=later) == []
    store.write(report("steady", worker="c", at=later))
    assert store.read(now=1000) == store.read(now=later)  # the others are gone for good


def test_what_other_versions_wrote_is_read_as_far_as_it_can_be() -> None:
    redis = fakeredis.FakeRedis()
    newer = report("steady").model_dump_json()[:-1] + ', "moon": 3}'
    redis.hset(DRIFT_KEY, mapping={"a": newer, "b": "not json", "c": "{}"})

    assert [r.worker for r in DriftStore(redis).read(now=1000)] == ["w@h"]
