"""docs/configuration.md is what `make docs` makes of the settings class."""

from __future__ import annotations

from pathlib import Path

from docs.generate import page
from shared.settings import Settings

FILE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert FILE.read_text() == page(), "run `make docs`"


def test_every_setting_is_on_it_once() -> None:
    text = page()

    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = alias.choices[0] if alias else f"SCRATCH_{name.upper()}"
        assert text.count(f"| `{variable}` |") == 1, variable
