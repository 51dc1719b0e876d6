"""Access keys: made once, kept privately, and each opens only what it should."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from emulator.functions.keys import DURABLE, Keys, load_keys
from emulator.functions.settings import StartError


def test_keys_are_made_once_and_kept(tmp_path: Path) -> None:
    """A second load gives the same keys, in the agreed form."""
    first = load_keys(tmp_path / "data" / "keys.json")
    assert load_keys(tmp_path / "data" / "keys.json") == first
    stored = json.loads((tmp_path / "data" / "keys.json").read_text(encoding="utf-8"))
    assert stored == {"default": first.default, "master": first.master, "systemKeys": first.system}
    assert len({first.default, first.master, first.system[DURABLE]}) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    """The file has mode 0600, even if it was open to all before."""
    path = tmp_path / "keys.json"
    path.write_text('{"default": "mine"}', encoding="utf-8")
    path.chmod(0o644)
    assert load_keys(path).default == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_file_keys_are_made_and_not_kept() -> None:
    """A host without a data folder still has keys."""
    assert load_keys(None) != load_keys(None)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """The message names the file and the way out."""
    (tmp_path / "keys.json").write_text("{", encoding="utf-8")
    with pytest.raises(StartError, match=r"keys\.json does not hold keys: delete it"):
        load_keys(tmp_path / "keys.json")


def test_each_key_opens_its_own_door() -> None:
    """Default and function keys open functions, the system key its webhooks, the master key everything."""
    keys = Keys("default", "master", {DURABLE: "system"}, {"render": {"ci": "own"}})
    given = ["default", "master", "system", "own", "", "gu\udcffess"]
    assert [one for one in given if keys.open_function(one, "render")] == ["default", "master", "own"]
    assert [one for one in given if keys.open_function(one, "other")] == ["default", "master"]
    assert [one for one in given if keys.open_webhook(one, DURABLE)] == ["master", "system"]
    assert [one for one in given if keys.open_admin(one)] == ["master"]


def test_function_keys_of_the_file_are_kept(tmp_path: Path) -> None:
    """Keys added by hand under functionKeys survive a restart."""
    (tmp_path / "keys.json").write_text('{"functionKeys": {"render": {"ci": "own"}}}', encoding="utf-8")
    load_keys(tmp_path / "keys.json")
    assert load_keys(tmp_path / "keys.json").functions == {"render": {"ci": "own"}}


def test_keys_do_not_show_in_logs() -> None:
    """The representation of keys holds none of them."""
    assert "secret" not in repr(Keys("secret", "secret", {DURABLE: "secret"}, {}))
