"""Prints docs/configuration.md from the settings class: its names, defaults and `#:` comments.

`make docs` writes the file; a test holds it to the class.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import get_args

from annotated_types import Ge, Gt, Le
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from shared.settings import Settings

_HEAD = """# Settings

Made by `make docs` from [`shared/settings.py`](../shared/settings.py). Every setting is an
environment variable, or a line in a file `.env` in the working directory; the environment wins.
What ends in `_S` is in seconds, in `_BYTES` in bytes.
"""
_TABLE = "| variable | default | |\n| --- | --- | --- |\n"
_FIELD = re.compile(r"    (\w+): ")
_SECTION = "    # --- "
_COMMENT = "    #: "


def page() -> str:
    parts = [_HEAD]
    for section, fields in _sections():
        rows = "\n".join(_row(name, comment) for name, comment in fields)
        parts.append(f"## {section.capitalize()}\n\n{_TABLE}{rows}\n")
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each heading in the class with its fields and their comments."""
    section, fields, comment = "", [], ""
    for line in inspect.getsource(Settings).splitlines():
        field = _FIELD.match(line)
        if line.startswith(_SECTION):
            if fields:
                yield section, fields
            section, fields, comment = line.removeprefix(_SECTION), [], ""
        elif line.startswith(_COMMENT):
            comment = f"{comment} {line.removeprefix(_COMMENT)}".strip()
        elif field and field[1] in Settings.model_fields:
            fields.append((field[1], comment))
            comment = ""
    yield section, fields


def _row(name: str, comment: str) -> str:
    field = Settings.model_fields[name]
    meaning = " · ".join(_meaning(field, comment))
    return f"| `{_variable(name, field)}` | {_default(field)} | {meaning} |"


def _variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"SCRATCH_{name.upper()}"


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "" if value in ("", None, ()) else f"`{value}`"


def _meaning(field: FieldInfo, comment: str) -> Iterator[str]:
    if comment:
        yield comment.replace("|", "\\|")
    words = [word for word in get_args(field.annotation) if isinstance(word, str)]
    if words and f"`{words[0]}`" not in comment:
        yield " or ".join(f"`{word}`" for word in words)
    for limit in field.metadata:
        match limit:
            case Gt(gt):
                yield f"above {gt}"
            case Ge(ge) if ge != 0:
                yield f"at least {ge}"
            case Le(le):
                yield f"at most {le}"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
