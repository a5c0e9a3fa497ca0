from __future__ import annotations

import pytest

from api.waits import wait_of_prefer, wait_of_query


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("true", 5), ("TRUE", 5), ("false", 0), ("0", 0), ("1.5", 1.5), ("6", 6), ("999999999", 6)],
)
def test_query(settings, text, seconds):
    assert wait_of_query(text, settings).seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "-1",
        "-0.1",
        "nan",
        "inf",
        "-inf",
        "1,5",
        "0x10",
        "1_0",
        "1e3",
        "\u0663",
        " 5",
        "5\n",
        "+5",
        "5.",
        ".5",
        "9" * 400,
    ],
)
def test_query_that_means_nothing(settings, text):
    with pytest.raises(ValueError):
        wait_of_query(text, settings)


@pytest.mark.parametrize(
    ("headers", "seconds", "applied"),
    [
        ([], 5, None),
        (["return=minimal"], 5, None),
        (["respond-async"], 0, "respond-async"),
        (["Respond-Async"], 0, "respond-async"),
        (["respond-async, wait=3"], 3, "respond-async, wait=3"),
        (["wait=3", "respond-async"], 3, "respond-async, wait=3"),
        (['wait="3"; x=y'], 3, "wait=3"),
        (["wait=100"], 6, "wait=100"),
        (["wait=3, wait=4"], 3, "wait=3"),
        (["wait=-1"], 5, None),
        (["wait=1.5"], 5, None),
        (["wait=" + "9" * 400], 5, None),
        (["wait=٣"], 5, None),
        ([",,;=,"], 5, None),
    ],
)
def test_prefer(settings, headers, seconds, applied):
    wait = wait_of_prefer(headers, settings)
    assert (wait.seconds, wait.applied) == (seconds, applied)
