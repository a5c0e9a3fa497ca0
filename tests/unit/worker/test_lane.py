"""A lane takes what fits, in its order, and never makes anybody wait."""

from __future__ import annotations

import threading

from worker.lane import Lane


def test_everything_is_worked_off_in_its_order() -> None:
    done: list[int] = []
    lane: Lane[int] = Lane("t", done.extend, most=100, most_bytes=100, at_once=7)
    assert all(lane.put(number, 1) for number in range(50))
    lane.start()
    lane.close(20)

    assert done == list(range(50))
    assert lane.waiting == 0


def test_no_more_at_once_than_allowed() -> None:
    sizes: list[int] = []
    lane: Lane[int] = Lane(
        "t", lambda some: sizes.append(len(some)), most=9, most_bytes=9, at_once=4
    )
    for number in range(9):
        lane.put(number, 1)
    lane.start()
    lane.close(20)

    assert sizes == [4, 4, 1]


def test_what_does_not_fit_is_refused_until_there_is_room() -> None:
    entered, gate = threading.Semaphore(0), threading.Event()

    def work(_: list[int]) -> None:
        entered.release()
        gate.wait(20)

    lane: Lane[int] = Lane("t", work, most=2, most_bytes=10)
    lane.start()
    assert lane.put(1, 6)
    entered.acquire()  # in work it takes its room, too
    assert not lane.put(2, 5)
    assert lane.put(3, 4)
    assert not lane.put(4, 0)
    gate.set()
    lane.close(20)
    assert lane.put(5, 10)


def test_work_that_fails_does_not_end_the_lane() -> None:
    done: list[int] = []

    def work(some: list[int]) -> None:
        if some == [0]:
            raise KeyError("a bug")
        done.extend(some)

    lane: Lane[int] = Lane("t", work, most=5, most_bytes=5)
    lane.put(0, 5)
    lane.start()
    while lane.waiting:
        pass
    lane.put(1, 5)
    lane.close(20)

    assert done == [1]
