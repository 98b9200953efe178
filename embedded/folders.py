"""Folders and files that other users must not be able to change: they hold the database and the token secret.

The rules are those of ssh's StrictModes, for each folder from the root down, and for each link on the way.
"""

import grp
import os
import pwd
import stat
from errno import EACCES, ELOOP, ENOTDIR
from pathlib import Path

MAX_LINKS = 40  # as in the kernel


def make_private_folder(path: Path) -> Path:
    """Creates missing folders; returns the path without links; raises OSError if another user could change it."""
    folder, left, links = Path("/"), list(reversed(Path(os.path.abspath(path)).parts[1:])), 0
    while left:
        entry = folder / left.pop()
        if not entry.exists() and not entry.is_symlink():
            entry.mkdir(mode=0o700)
        status = entry.lstat()
        if stat.S_ISDIR(status.st_mode):
            _check(entry, status, shared=bool(left))
            folder = entry
        elif not stat.S_ISLNK(status.st_mode):
            raise NotADirectoryError(ENOTDIR, "it must be a folder", str(entry))
        elif status.st_uid not in _trusted_users():
            raise PermissionError(EACCES, "another user made this link", str(entry))
        elif (links := links + 1) > MAX_LINKS:
            raise OSError(ELOOP, os.strerror(ELOOP), str(entry))
        else:
            left += reversed(Path(os.path.normpath(folder / entry.readlink())).parts[1:])
            folder = Path("/")
    return folder


def check_private_folder(path: Path, *owners: int) -> None:
    """Raises OSError if this is a link or not a folder, or if users besides `owners` and trusted ones may change it."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(ENOTDIR, "it must be a folder, not a link", str(path))
    _check(path, status, *owners)


def open_private_file(path: Path) -> int:
    """A descriptor of the file, created if missing; raises OSError if it is a link or other users may write it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        status = os.fstat(descriptor)
    except OSError as error:
        error.strerror = "it must be a file, not a link" if error.errno == ELOOP else error.strerror
        raise
    try:
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(EACCES, "it must be a file", str(path))
        _check(path, status)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, status: os.stat_result, *owners: int, shared: bool = False) -> None:
    """`shared`: allows a folder that all users may write to if only owners can replace files in it, such as /tmp."""
    if status.st_uid not in {*owners, *_trusted_users()}:
        raise PermissionError(EACCES, f"it belongs to another user, {_name(status.st_uid)}", str(path))
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not writable or (shared and status.st_mode & stat.S_ISVTX):
        return
    if writable != stat.S_IWGRP or not _only_member(status):
        raise PermissionError(EACCES, "other users may write to it", str(path))


def _trusted_users() -> set[int]:
    """The caller, root, and the owner of this code, which the caller runs."""
    return {os.geteuid(), 0, Path(__file__).stat().st_uid}


def _only_member(status: os.stat_result) -> bool:
    """Whether the owner is the group's only member, as on systems where each user has a group."""
    members = {user.pw_uid for user in pwd.getpwall() if user.pw_gid == status.st_gid}
    try:
        members |= {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(status.st_gid).gr_mem}
    except KeyError:
        return False
    return members == {status.st_uid}


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"number {user}"
