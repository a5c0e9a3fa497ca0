"""API keys: random, hashed at rest, read again on change, and closed when their file breaks."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from shared.errors import AccessError
from shared.keys import KeyRing, add_key, hash_of, read_keys, remove_key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "api-keys"


def test_a_key_is_long_and_random_and_kept_only_as_a_hash(file):
    keys = [add_key(file, name) for name in ("ana", "line-2")]
    assert len(set(keys)) == 2
    assert all(key.startswith("scratch_") and len(key) == 51 for key in keys)
    assert read_keys(file) == {"ana": hash_of(keys[0]), "line-2": hash_of(keys[1])}
    assert not any(key in file.read_text() for key in keys)


def test_nobody_else_reads_the_file(file):
    add_key(file, "ana")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "../a", "ü", "x" * 65, "-a"])
def test_names_that_are_none(file, name):
    with pytest.raises(AccessError, match="a name has"):
        add_key(file, name)


def test_a_name_is_used_once_and_a_removed_one_is_free(file):
    add_key(file, "ana")
    with pytest.raises(AccessError, match="already"):
        add_key(file, "ana")
    assert remove_key(file, "ana") == 0
    with pytest.raises(AccessError, match="no key"):
        remove_key(file, "ana")
    add_key(file, "ana")


def test_a_ring_knows_keys_by_name(file):
    ana, bo = add_key(file, "ana"), add_key(file, "bo")
    ring = KeyRing(file)
    assert (ring.name_of(ana), ring.name_of(bo)) == ("ana", "bo")
    assert [ring.name_of(k) for k in ("", ana[:-1], ana + "x", hash_of(ana), "ü")] == ([None] * 5)


def test_keys_change_without_a_restart(file):
    ring = KeyRing(file)
    assert not ring.exists
    old = add_key(file, "old")
    assert ring.exists
    assert ring.name_of(old) == "old"
    new = add_key(file, "new")
    remove_key(file, "old")
    os.utime(file, (1, 1))  # within one tick of a file system's clock, two changes look alike
    assert (ring.name_of(old), ring.name_of(new)) == (None, "new")


def test_the_loss_of_keys_opens_nothing(file):
    key = add_key(file, "ana")
    ring = KeyRing(file)
    file.unlink()
    assert ring.exists
    assert ring.name_of(key) is None
    add_key(file, "bo")
    remove_key(file, "bo")
    assert ring.exists


def test_a_file_that_breaks_leaves_the_keys_before(file, caplog):
    key = add_key(file, "ana")
    ring = KeyRing(file)
    file.write_text("what is this?")
    with caplog.at_level(logging.ERROR):
        assert ring.name_of(key) == "ana"
        assert ring.name_of(key) == "ana"
    assert len(caplog.records) == 1


def test_a_broken_file_that_appears_opens_nothing(file):
    ring = KeyRing(file)
    file.parent.mkdir()
    file.write_text("what is this?")
    assert ring.exists
    assert ring.name_of("what is this?") is None


@pytest.mark.parametrize("line", ["ana", "ana:", "ana:123", f"a b:{'0' * 64}", f":{'0' * 64}"])
def test_a_broken_file_is_named_with_its_line(file, line):
    file.parent.mkdir()
    file.write_text(f"# keys\n\n{line}\n")
    with pytest.raises(AccessError, match="line 3"):
        KeyRing(file)


def test_an_unreadable_file_is_no_start(file):
    file.mkdir(parents=True)
    with pytest.raises(AccessError, match="directory"):
        KeyRing(file)
