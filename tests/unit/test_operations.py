"""The runbook has a line for each alert, and both speak of codes that there are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from shared.errors import ServiceError

ROOT = Path(__file__).parents[2]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
_SECTION = (ROOT / "docs/operations.md").read_text().split("## When an alert or a code comes")[1]
#: alert, code, where to look, what to do
RUNBOOK = [
    [cell.strip() for cell in line[1:].removesuffix("|").split("|")]
    for line in _SECTION.splitlines()
    if line.startswith("|") and not line.startswith(("| alert", "| ---"))
]


def named(column: int) -> set[str]:
    return {name for row in RUNBOOK for name in re.findall(r"`(\w+)`", row[column])}


def codes(kind: type[ServiceError] = ServiceError) -> set[str]:
    return {kind.code}.union(*(codes(other) for other in kind.__subclasses__()))


def test_each_alert_has_its_line_and_each_line_its_alert() -> None:
    assert named(0) == {rule["alert"] for rule in RULES}


def test_each_line_says_where_to_look_and_what_to_do() -> None:
    assert len(RUNBOOK) > 10
    for row in RUNBOOK:
        assert len(row) == 4, row
        assert row[0] or row[1], row
        assert row[2], row
        assert row[3], row


def test_codes_are_those_that_are_answered() -> None:
    asked = {
        code
        for rule in RULES
        for pattern in re.findall(r'code=~?"([^"]*)"', rule["expr"])
        for code in pattern.split("|")
    }

    assert asked
    assert asked | named(1) <= codes()
    assert asked <= named(1), "an alert's code without a line"


def test_each_alert_says_how_urgent_it_is_and_what_has_happened() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
