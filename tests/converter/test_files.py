"""Files of users: every failure is one line and a hint, and leaves nothing behind."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from spikeport.converter import files
from spikeport.converter.errors import FormatError
from spikeport.converter.files import check_output, read_bounded, sha256_of, write_atomically


def failing(error: OSError):
    def fail(*args, **options):
        raise error

    return fail


def test_read_what_was_written(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert read_bounded(path, 6) == b"second"
    assert sha256_of(path) == hashlib.sha256(b"second").hexdigest()
    assert os.listdir(tmp_path) == ["file"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    write_atomically(tmp_path / "ours", b"")
    (tmp_path / "theirs").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_a_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "folder" / "target")
    write_atomically(link, b"data")
    assert link.is_symlink()
    assert (tmp_path / "folder" / "target").read_bytes() == b"data"


@pytest.mark.parametrize("read", [lambda path: read_bounded(path, 100), sha256_of])
def test_what_cannot_be_read(read, tmp_path, monkeypatch):
    with pytest.raises(FormatError, match=r"missing: no such file, expected an existing file") as e:
        read(tmp_path / "missing")
    assert "the current folder is" in e.value.hint
    with pytest.raises(FormatError, match=r": is a folder, expected a file") as e:
        read(tmp_path)
    assert e.value.hint == "give a file inside it"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match=r"pipe: is a device or a pipe, expected a file") as e:
        read(tmp_path / "pipe")
    assert "save its content" in e.value.hint
    with pytest.raises(FormatError, match=r"null: is a device or a pipe"):
        read(Path("/dev/null"))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FormatError, match=r"loop: cannot be read \(Too many levels of symbolic"):
        read(tmp_path / "loop")
    with pytest.raises(FormatError, match=r"cannot be read \(.*embedded null"):
        read(Path("a\0b"))
    with pytest.raises(FormatError, match=r"cannot be read \(File name too long\)"):
        read(tmp_path / ("a" * 300))
    (tmp_path / "secret").touch()
    monkeypatch.setattr(Path, "open", failing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(FormatError, match=r"secret: cannot be read \(Permission denied\)") as e:
        read(tmp_path / "secret")
    assert "permissions" in e.value.hint


def test_too_large_a_file_is_not_read(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(FormatError, match=r"sparse: has 1099511627776 bytes, expected at most 100"):
        read_bounded(path, 100)
    path.write_bytes(b"x" * 101)
    with pytest.raises(FormatError, match=r"has 101 bytes, expected at most 100") as caught:
        read_bounded(path, 100)
    assert "another file" in caught.value.hint


def test_a_file_above_the_memory(tmp_path, monkeypatch):
    class Huge:
        st_size = 2**62

    path = tmp_path / "file"
    path.touch()
    monkeypatch.setattr(files.os, "fstat", lambda descriptor: Huge)
    with pytest.raises(FormatError, match=r"has \d+ bytes, which do not fit into memory") as caught:
        read_bounded(path, 2**63)
    assert "more memory" in caught.value.hint


def test_disk_full_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(
        files.os, "fsync", failing(OSError(errno.ENOSPC, "No space left on device"))
    )
    with pytest.raises(FormatError, match=r"file: cannot be written \(No space left on dev") as e:
        write_atomically(path, b"new")
    assert e.value.hint == "free some space or write to another disk; nothing was left behind"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert not os.listdir(tmp_path)


def test_other_failures_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", failing(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(FormatError, match=r"cannot be written \(Input/output error\)") as caught:
        write_atomically(tmp_path / "file", b"new")
    assert caught.value.hint == "write to another place; nothing was left behind"


WRITERS = [
    pytest.param(lambda path: write_atomically(path, b"data"), id="write_atomically"),
    pytest.param(lambda path: check_output(path), id="check_output"),
]


@pytest.mark.parametrize("write", WRITERS)
def test_a_link_into_a_missing_folder(write, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "no" / "out")
    with pytest.raises(FormatError, match=r"/link: the folder .*/no does not exist") as caught:
        write(link)
    assert caught.value.hint == f"create it first: mkdir -p {tmp_path / 'no'}"


@pytest.mark.parametrize("write", WRITERS)
def test_where_nothing_can_be_written(write, tmp_path):
    with pytest.raises(
        FormatError, match=r"/no/out: the folder .*/no does not exist, expected an"
    ) as e:
        write(tmp_path / "no" / "out")
    assert e.value.hint == f"create it first: mkdir -p {tmp_path / 'no'}"
    with pytest.raises(FormatError, match=r": is a folder, expected the name of a file") as e:
        write(tmp_path)
    assert e.value.hint == "add a file name"
    (tmp_path / "file").touch()
    with pytest.raises(FormatError, match=r"file/out: the folder .*/file does not exist"):
        write(tmp_path / "file" / "out")
    with pytest.raises(FormatError, match=r"null: is a device or a pipe, expected the name") as e:
        write(Path("/dev/null"))
    assert e.value.hint == "write to a file, then send it on"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_not_writable(tmp_path, monkeypatch):
    message = r"out: the folder .* is not writable \(Permission denied\)"
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(FormatError, match=message) as caught:
        check_output(tmp_path / "out")
    assert "another folder" in caught.value.hint
    monkeypatch.setattr(Path, "open", failing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(FormatError, match=message):
        write_atomically(tmp_path / "out", b"")


def test_the_suffix_is_checked_before_the_work(tmp_path):
    check_output(tmp_path / "out.snn", suffixes=[".snn"])
    check_output(tmp_path / "OUT.SNN", suffixes=[".snn"])
    check_output(tmp_path / "anything")
    with pytest.raises(FormatError, match=r"out\.h5: has the suffix '\.h5', expected '\.snn'") as e:
        check_output(tmp_path / "out.h5", suffixes=[".snn"])
    assert e.value.hint == "name it out.snn"
    assert not os.listdir(tmp_path)
