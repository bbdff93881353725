"""Files of users: bounded reading, hashing, atomic writing. Whatever fails is one line and a hint.

Only regular files are read and replaced: a pipe would hang, a device has no end, and renaming
over a device would remove it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FormatError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def read_bounded(path: Path, limit: int) -> bytes:
    """Return a file's bytes.

    The whole file is read before anything looks at it: a mapped file that is cut meanwhile would
    end the process.

    Args:
        path: A regular file.
        limit: In bytes; a larger file is refused before it is read.

    Raises:
        FormatError: No such file, not a regular file, not readable, or too large.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        too_large = FormatError(
            f"{path}: has {max(size, limit + 1)} bytes, expected at most {limit}",
            hint="give another file: nothing that spikeport reads is this large",
        )
        if size > limit:
            raise too_large
        try:
            data = file.read(size + 1)
        except MemoryError as error:
            raise FormatError(
                f"{path}: has {size} bytes, which do not fit into memory",
                hint="use a machine with more memory, or end other programs",
            ) from error
        if len(data) > limit:
            raise too_large
        return data


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        FormatError: No such file, not a regular file, or not readable.
    """
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_output(path: Path, *, suffixes: Collection[str] = ()) -> None:
    """Refuse what could not be written, before the work whose result it would hold.

    Args:
        path: A file to write or replace; a link is followed.
        suffixes: What its name must end in, one of these; () for anything.

    Raises:
        FormatError: Another suffix, no such folder, a folder that is not writable, or something in
            the place that is not a regular file.
    """
    with _writing(path):
        folder = _folder(path)
        _check_target(path)
        if suffixes and path.suffix.lower() not in suffixes:
            raise FormatError(
                f"{path}: has the suffix {path.suffix!r}, expected "
                f"{' or '.join(map(repr, suffixes))}",
                hint=f"name it {path.with_suffix(next(iter(suffixes))).name}",
            )
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that at every moment the old file or the whole new one is there.

    The bytes go to a temporary file beside it, reach the disk, and take the name.

    Args:
        path: A file to write or replace; a link is followed.
        data: All of its bytes.

    Raises:
        FormatError: No such folder, not writable, disk full, or something in the place that is not
            a regular file. Nothing is left behind.
    """
    with _writing(path):
        target = Path(os.path.realpath(path))
        _check_target(target)
        temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _folder(path: Path) -> Path:
    """Return where the file will lie: a link's target decides."""
    return Path(os.path.realpath(path)).parent if os.path.islink(path) else path.parent


def _check_target(path: Path) -> None:
    if path.is_dir():
        raise FormatError(
            f"{path}: is a folder, expected the name of a file", hint="add a file name"
        )
    if path.exists() and not path.is_file():
        raise FormatError(
            f"{path}: is a device or a pipe, expected the name of a file",
            hint="write to a file, then send it on",
        )


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    try:
        # Before opening: to open a pipe is to wait for somebody who writes.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise FormatError(f"{path}: is a folder, expected a file", hint="give a file inside it")
        if not stat.S_ISREG(mode):
            raise FormatError(
                f"{path}: is a device or a pipe, expected a file",
                hint="save its content as a file first",
            )
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise FormatError(
            f"{path}: no such file, expected an existing file",
            hint=f"check the name; the current folder is {Path.cwd()}",
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FormatError(
            f"{path}: cannot be read ({_reason(error)})", hint="check the name and its permissions"
        ) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing `path` into one line and a hint."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(
            f"{path}: the folder {_folder(path)} does not exist, expected an existing folder",
            hint=f"create it first: mkdir -p {_folder(path)}",
        ) from error
    except PermissionError as error:
        raise FormatError(
            f"{path}: the folder {_folder(path)} is not writable ({_reason(error)})",
            hint="write to another folder, or change its permissions",
        ) from error
    except (OSError, ValueError) as error:
        is_full = isinstance(error, OSError) and error.errno in FULL
        raise FormatError(
            f"{path}: cannot be written ({_reason(error)})",
            hint="free some space or write to another disk; nothing was left behind"
            if is_full
            else "write to another place; nothing was left behind",
        ) from error


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
