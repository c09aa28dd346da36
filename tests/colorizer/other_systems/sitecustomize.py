"""With this folder on ``PYTHONPATH``, Python has only what Windows or macOS has.

``LIKE`` is ``windows`` or ``macos``. Names are deleted, modules can't be imported, and calls fail
as they do there. Left is what Python and numpy need on Linux to start at all.
"""

import contextlib
import ctypes
import errno
import fcntl
import io
import mimetypes
import multiprocessing.popen_spawn_posix  # noqa: F401 its modules import these names
import os
import resource
import select
import signal
import subprocess  # noqa: F401 as above
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

NOT_ON_MACOS: dict[Any, str] = {
    os: """
        copy_file_range eventfd eventfd_read eventfd_write fdatasync getrandom getresgid getresuid
        getxattr listxattr memfd_create pidfd_open pipe2 posix_fadvise posix_fallocate removexattr
        sched_getaffinity sched_getparam sched_getscheduler sched_rr_get_interval
        sched_setaffinity sched_setparam sched_setscheduler setns setresgid setresuid setxattr
        splice unshare O_DIRECT O_LARGEFILE O_NOATIME O_PATH O_RSYNC O_TMPFILE
    """,
    signal: "SIGCLD SIGPOLL SIGPWR SIGRTMAX SIGRTMIN SIGSTKFLT sigtimedwait sigwaitinfo",
    select: "epoll",
}
NOT_ON_WINDOWS: dict[Any, str] = {
    os: """
        chown chroot confstr ctermid fchdir fchmod fchown fork forkpty fpathconf fstatvfs getegid
        geteuid getgid getgrouplist getgroups getloadavg getpgid getpgrp getpriority getsid getuid
        initgroups killpg lchown lockf login_tty major makedev minor mkfifo mknod nice openpty
        pathconf posix_spawn posix_spawnp pread preadv pwrite pwritev readv register_at_fork
        sched_get_priority_max sched_get_priority_min sched_yield sendfile set_blocking setegid
        seteuid setgid setgroups setpgid setpriority setregid setreuid setsid setuid statvfs sync
        sysconf tcgetpgrp tcsetpgrp ttyname wait wait3 wait4 waitid writev WCONTINUED
        WCOREDUMP WEXITSTATUS WIFCONTINUED WIFEXITED WIFSIGNALED WIFSTOPPED WSTOPSIG WTERMSIG
        WUNTRACED O_ACCMODE O_ASYNC O_CLOEXEC O_DIRECTORY O_DSYNC O_NDELAY O_NOCTTY O_NOFOLLOW
        O_NONBLOCK O_SYNC
    """,
    signal: """
        ITIMER_PROF ITIMER_REAL ITIMER_VIRTUAL SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL
        SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGSYS SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1
        SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm
        getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait
    """,
    select: "poll",
}
MODULES_NOT_ON_WINDOWS = "fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"
NOT_IN_NAMES_ON_WINDOWS = frozenset('<>:"|?*')

_stat, _open, _io_open = os.stat, os.open, io.open
_list_folder, _samestat = os.listdir, os.path.samestat


def take_away(names: dict[Any, str]) -> None:
    for module, text in names.items():
        for name in text.split():
            if hasattr(module, name):
                delattr(module, name)


def check_before(module: Any, name: str, check: Callable[..., None]) -> None:
    """Let a module's function call ``check`` with its own arguments first."""
    function = getattr(module, name)

    def checked(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        return function(*args, **kwargs)

    setattr(module, name, checked)


def refuse_proc(path: Any, *_: Any, **__: Any) -> None:
    if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith("/proc/"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))


def refuse_limit(kind: int, _: Any) -> None:
    if kind == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")


def refuse_folder(path: Any, *_: Any, **__: Any) -> None:
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path):  # noqa: PTH112 no patched name
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))


def refuse_name(path: Any, *_: Any, **__: Any) -> None:
    if isinstance(path, (str, os.PathLike)) and NOT_IN_NAMES_ON_WINDOWS & set(os.fspath(path)):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), os.fspath(path))


def refuse_unwritable(descriptor: int) -> None:
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & 3 == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def refuse_opened(path: Any, *_: Any, **__: Any) -> None:
    """A file that is open can be neither renamed nor removed."""
    with contextlib.suppress(FileNotFoundError):
        status = _stat(path)
        for descriptor in _list_folder("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if _samestat(_stat(int(descriptor)), status):
                    raise _InUseError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))


class _InUseError(PermissionError):
    pass


def refuse_existing(_: Any, target: Any, **__: Any) -> None:
    if os.path.exists(target):  # noqa: PTH110 pathlib calls what is patched
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))


class LibraryWithoutTiff(ctypes.CDLL):
    """Pillow's module exports nothing of its libtiff."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("TIFF"):
            raise AttributeError(name)
        return super().__getattr__(name)


def become_macos() -> None:
    take_away(NOT_ON_MACOS)
    check_before(resource, "setrlimit", refuse_limit)


def become_windows() -> None:
    from multiprocessing import popen_fork, resource_tracker

    # Python's own, which knows only that these names exist on Linux
    vars(resource_tracker)["_HAVE_SIGMASK"] = False
    vars(popen_fork)["signal"] = SimpleNamespace(SIGTERM=15, SIGKILL=9)
    take_away(NOT_ON_MACOS)
    take_away(NOT_ON_WINDOWS)
    for name in MODULES_NOT_ON_WINDOWS:
        sys.modules[name] = None  # type: ignore[assignment]
    check_before(os, "open", refuse_folder)
    check_before(os, "open", refuse_name)
    check_before(io, "open", refuse_name)
    check_before(os, "fsync", refuse_unwritable)
    for name in ("rename", "replace", "remove", "unlink"):
        check_before(os, name, refuse_opened)
    check_before(os, "rename", refuse_existing)
    vars(ctypes)["CDLL"] = LibraryWithoutTiff
    # as some programs leave it in the registry
    mimetypes.add_type("text/plain", ".js")


{"windows": become_windows, "macos": become_macos}[os.environ["LIKE"]]()
check_before(os, "stat", refuse_proc)
check_before(io, "open", refuse_proc)
if platform := os.environ.get("LIKE_PLATFORM"):
    sys.platform = platform
