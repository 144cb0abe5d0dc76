"""File locks that are safe to fork around: what processes that share an embedded store agree through."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path

from ferryman.errors import ConfigurationError, StoreUnavailable

if sys.platform != "win32":
    import fcntl

    SHARED = fcntl.LOCK_SH
    EXCLUSIVE = fcntl.LOCK_EX

NO_FLOCK = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})

# Held while a lock's open file is not yet, or not for long, where it belongs: a fork in another thread waits
# for it, or the child would carry a copy of ``keeper.lock`` for life and no keeper could be started again.
fork_lock = threading.Lock()


def open_lock(path: Path) -> int:
    """Open a lock file, made if need be; our errors instead of the system's."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ConfigurationError(
                f"the embedded store cannot write {path}: {error.strerror}; use it as the user who made it, "
                "or name another directory"
            ) from error
        raise StoreUnavailable(f"the embedded store cannot open {path}: {error.strerror}") from error


def lock_now(descriptor: int, path: Path, kind: int) -> bool:
    """True if the lock is ours now, False if somebody's lock forbids it.

    Raises `ConfigurationError` on a file system that has no locks.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        raise ConfigurationError(
            f"the file system of {path.parent} has no file locks ({error.strerror}), which an embedded store "
            "needs to be shared safely; choose a directory on a local disk"
        ) from error
    return True


def try_lock(path: Path, kind: int) -> int | None:
    """An open file with the lock, or None while somebody else's forbids it. The caller holds `fork_lock`."""
    descriptor = open_lock(path)
    try:
        if lock_now(descriptor, path, kind):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def held(path: Path) -> bool:
    """True while somebody has the exclusive lock."""
    with fork_lock:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return False
        try:
            # Shared, so that those who look at the same time do not see each other.
            return not lock_now(descriptor, path, SHARED)
        finally:
            os.close(descriptor)


def is_file_at(descriptor: int, path: Path) -> bool:
    """True while the open file is what stands at the path: nobody removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
