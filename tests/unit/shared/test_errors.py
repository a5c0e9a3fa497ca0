"""The error family: stable codes, default messages, and failures read back as errors."""

from __future__ import annotations

import pytest

from shared import errors
from shared.errors import CorruptImage, InternalError, ServiceError, UploadError, error_for


def _all(root: type[ServiceError]) -> list[type[ServiceError]]:
    return [root, *(found for child in root.__subclasses__() for found in _all(child))]


OURS = [error for error in _all(ServiceError) if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", OURS)
def test_the_docstring_is_the_default_message(error: type[ServiceError]) -> None:
    assert error().message == error.__doc__ == str(error())


def test_codes_are_unique_but_for_the_general_ones() -> None:
    leaves = [error.code for error in OURS if not error.__subclasses__()]
    assert len(set(leaves)) == len(leaves)


@pytest.mark.parametrize("error", [e for e in OURS if e not in (ServiceError, UploadError)])
def test_a_code_leads_back_to_its_class(error: type[ServiceError]) -> None:
    found = error_for(error.code, "what happened")
    assert type(found) is error
    assert found.message == "what happened"


def test_an_unknown_code_is_an_internal_error() -> None:
    assert type(error_for("from_the_future", "x")) is InternalError


def test_a_message_replaces_the_default() -> None:
    assert CorruptImage("half of it is missing").message == "half of it is missing"
