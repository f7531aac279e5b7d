"""Puts a command into surroundings of its own, with Linux's namespaces.

    python sandbox.py network COMMAND…

runs a command with no network but a loopback of its own. Where namespaces are refused (in most containers, unless run
as root of the machine) it runs the command all the same, and the tests that ask for a closed network are skipped.

    python sandbox.py disk TASK RUNTIME EMULATOR COMMAND…

runs it, as Lambda does, where these three lie in /var, /tmp is empty and takes writes, and nothing else does.

    python sandbox.py small-disk FOLDER SIZE COMMAND…

runs it where FOLDER is a disk of SIZE, such as 8m. Others see it as /proc/PID/root/FOLDER.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK = 0x20000, 0x10000000, 0x40000000  # sched.h
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000  # sys/mount.h
_MOUNT_SETATTR, _HERE, _READ_ONLY = 442, -100, 1  # its number on every architecture; fcntl.h, linux/mount.h
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41  # linux/sockios.h, net/if.h

TASK, RUNTIME, EMULATOR = Path("/var/task"), Path("/var/runtime"), Path("/var/emulator")


def _done(code: int) -> None:
    if code:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _unshare(namespaces: int) -> None:
    """As root straight away, as anybody else by becoming root of a new user namespace."""
    user, group = os.geteuid(), os.getegid()
    try:
        _done(_libc.unshare(namespaces))
    except PermissionError:
        _done(_libc.unshare(namespaces | _NEW_USER))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def close_network() -> None:
    """No network for this process and its children but a loopback. Raises OSError where that is refused."""
    _unshare(_NEW_NETWORK)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", _UP_AND_RUNNING))


def network_is_closed() -> bool:
    interfaces = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def _mount(source: Path | str, target: Path, kind: str | None, flags: int = 0, options: str = "") -> None:
    _done(_libc.mount(str(source).encode(), str(target).encode(), kind and kind.encode(), flags, options.encode()))


def _make_read_only(path: str, *, read_only: bool, recursive: bool) -> None:
    attributes = struct.pack("4Q", _READ_ONLY * read_only, _READ_ONLY * (not read_only), 0, 0)
    flags = 0x8000 if recursive else 0
    _done(_libc.syscall(_MOUNT_SETATTR, _HERE, path.encode(), flags, attributes, len(attributes)))


def close_disk(task: Path, runtime: Path, emulator: Path) -> None:
    """See above, for this process and its children. Raises OSError where that is refused."""
    _unshare(_NEW_MOUNTS)
    _mount("none", Path("/"), None, _RECURSIVE | _PRIVATE)
    _mount("tmpfs", Path("/var"), "tmpfs")
    for seen_as, lies_at in {TASK: task, RUNTIME: runtime, EMULATOR: emulator}.items():
        seen_as.mkdir() if lies_at.is_dir() else seen_as.touch()
        _mount(lies_at, seen_as, None, _BIND)
    _mount("tmpfs", Path("/tmp"), "tmpfs")
    _make_read_only("/", read_only=True, recursive=True)
    _make_read_only("/tmp", read_only=False, recursive=False)
    os.chdir(TASK)


def small_disk(folder: Path, size: str) -> None:
    """See above, for this process and its children. Raises OSError where that is refused."""
    _unshare(_NEW_MOUNTS)
    _mount("none", Path("/"), None, _RECURSIVE | _PRIVATE)
    _mount("tmpfs", folder, "tmpfs", options=f"size={size}")


def main(what: str, *arguments: str) -> None:
    command = list(arguments)
    if what == "disk":
        task, runtime, emulator, *command = arguments
        close_disk(Path(task), Path(runtime), Path(emulator))
    elif what == "small-disk":
        folder, size, *command = arguments
        small_disk(Path(folder), size)
    else:
        try:
            close_network()
        except OSError as refusal:
            print(f"sandbox: the network stays open: {refusal}", file=sys.stderr)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
