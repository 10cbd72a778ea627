"""A file that is not exactly what was written is refused, and a crash leaves the old one."""

import errno
import io
import json
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from innvestigate.utils.archive import members, pack, read_arrays, unpacked, write_arrays
from innvestigate.utils.files import FileRefusedError, reading, refused, replacing
from tests.fuzz import hostile

PARTS = {"a.txt": b"alpha" * 50, "b.bin": bytes(range(256))}


def write(tmp_path, parts=PARTS, kind="a thing", version=1):
    path = tmp_path / "file"
    writers = {name: lambda stream, c=content: stream.write(c) for name, content in parts.items()}
    with replacing(path) as file:
        pack(file, writers, kind, version)
    return path


def read(path, kind="a thing", version=1):
    with unpacked(path, kind, version, PARTS.__contains__) as parts:
        return {name: part.read() for name, part in parts.items()}


def rewrite(path, change):
    """Write the zip anew after a change to its dict of contents."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    contents = change(contents) or contents
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)


def test_files_come_back(tmp_path):
    assert read(write(tmp_path)) == PARTS
    assert os.listdir(tmp_path) == ["file"]


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


def test_truncated_files_are_refused(tmp_path):
    path = write(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FileRefusedError, match="cannot be loaded as a thing: "):
            read(path)


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path):
    path = write(tmp_path)
    whole, random, refused = bytearray(path.read_bytes()), np.random.default_rng(0), 0
    for place in range(0, len(whole), 3):
        damaged = whole.copy()
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            assert read(path) == PARTS
        except FileRefusedError:
            refused += 1
    assert refused > 0.7 * len(whole) / 3


def archive(**contents):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return buffer.getvalue()


FOREIGN = {
    "empty": b"",
    "text": b"not a zip",
    "another zip": archive(config="{}"),
    "manifest that is no JSON": archive(**{"manifest.json": "hello"}),
    "manifest that is a list": archive(**{"manifest.json": "[1]"}),
    "manifest of something else": archive(**{"manifest.json": '{"format": "other"}'}),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FileRefusedError, match="damaged, or something else"):
        read(path)


def test_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(FileRefusedError, match="loaded as other: it is damaged, or something"):
        read(write(tmp_path), kind="other")


@pytest.mark.parametrize("version", [2, 0, None, "1"])
def test_another_version_is_refused(tmp_path, version):
    path = write(tmp_path, version=version)
    with pytest.raises(FileRefusedError, match=rf"the version {version!r}.*reads version 1"):
        read(path)


def altered(contents):
    contents["a.txt"] = contents["a.txt"].replace(b"alpha", b"alphb")


def missing(contents):
    del contents["b.bin"]


def added(contents):
    contents["c.py"] = b"print()"


def climbing(contents):
    return {f"../{name}" if name == "a.txt" else name: c for name, c in contents.items()}


def not_a_part(contents):
    contents["c.py"] = b"print()"
    manifest = json.loads(contents["manifest.json"])
    manifest["sha256"]["c.py"] = "0"
    contents["manifest.json"] = json.dumps(manifest)


def without_digests(contents):
    manifest = json.loads(contents["manifest.json"])
    del manifest["sha256"]
    contents["manifest.json"] = json.dumps(manifest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (altered, "'a.txt' in it was altered"),
        (missing, "its parts are not those"),
        (added, "its parts are not those"),
        (climbing, "its parts are not those"),
        (not_a_part, "its parts are not those"),
        (without_digests, "its parts are not those"),
    ],
)
def test_altered_files_are_refused(tmp_path, change, message):
    path = write(tmp_path)
    rewrite(path, change)
    with pytest.raises(FileRefusedError, match=message):
        read(path)
    assert not (tmp_path / "a.txt").exists()


def test_a_part_that_is_there_twice_is_refused(tmp_path):
    path = write(tmp_path)
    with (
        zipfile.ZipFile(path, "a") as file,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        file.writestr("a.txt", PARTS["a.txt"])
    with pytest.raises(FileRefusedError, match="its parts are not those"):
        read(path)


def test_a_crash_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_missing_folder_is_named(tmp_path):
    message = r"no folder .*missing to write file to"
    with pytest.raises(FileNotFoundError, match=message), replacing(tmp_path / "missing" / "file"):
        pass


def test_until_it_is_complete_the_old_file_stays(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


# --- How files are replaced -----------------------------------------------------------------------


def put(path, content=b"new"):
    with replacing(path) as file:
        file.write(content)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_permissions_are_kept(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    put(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == b"new"


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    put(tmp_path / "file")
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("exists", [True, False])
def test_symbolic_links_are_followed(tmp_path, exists):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(target)
    put(link)
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert os.listdir(tmp_path / "folder") == ["target"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "link", "/dev/null"):
        with pytest.raises(FileExistsError, match="a folder, a device or a pipe"):
            put(path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "[*?]"])
def test_any_name_works_as_text_and_as_bytes(tmp_path, name):
    put(str(tmp_path / name))
    put(os.fsencode(tmp_path / name), b"newer")
    assert (tmp_path / name).read_bytes() == b"newer"


CRASH = """
import os, sys
from innvestigate.utils.files import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os._exit(1)
"""


def test_the_next_save_removes_what_a_crash_has_left(tmp_path):
    path = tmp_path / "file"
    for name in (path, tmp_path / "other"):
        assert subprocess.run([sys.executable, "-c", CRASH, str(name)], check=False).returncode == 1
    assert len(os.listdir(tmp_path)) == 2 and not path.exists()
    put(path)
    put(tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_two_may_write_the_same_file_at_once(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as first:
        put(path, b"second")
        first.write(b"first")
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["file"]


def test_the_error_is_one_line():
    error = refused("a\nb", "a thing", ValueError(f"\x1b[31mfirst\n\nsecond{'x' * 10_000}"))
    assert str(error).startswith("a b cannot be loaded as a thing: [31mfirst second")
    assert str(error).isprintable() and len(str(error)) <= 600
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_only_files_are_opened(tmp_path, kind):
    path = tmp_path / kind
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(FileRefusedError, match="a folder, a device or a pipe"):
        read(path)


def test_a_full_disk_is_not_the_fault_of_a_file(tmp_path):
    path = write(tmp_path)
    with pytest.raises(OSError) as caught, reading(path, "a thing"):
        raise OSError(errno.ENOSPC, "no space left on device")
    assert caught.type is OSError
    with pytest.raises(FileRefusedError, match="signature"), reading(path, "a thing"):
        raise OSError("no signature")


# --- Arrays ---------------------------------------------------------------------------------------

ARRAYS = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "in fortran's order": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "of the other end": np.arange(3, dtype=">i4"),
    "words": np.array(["a", "bc"]),
    "none": np.zeros((0, 3), "int8"),
    "one": np.array(True),
}


def test_arrays_come_back():
    buffer = io.BytesIO()
    write_arrays(buffer, ARRAYS)
    found = read_arrays(buffer)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("=") and found[name].dtype.isnative


NO_ARRAYS = [content for content in hostile.arrays() if content not in hostile.ODD]


@pytest.mark.parametrize("content", NO_ARRAYS, ids=range(len(NO_ARRAYS)))
def test_arrays_that_are_none_are_refused(content):
    with pytest.raises(Exception) as caught:  # of any type
        read_arrays(io.BytesIO(hostile.zipped({"a.npy": content})))
    assert not isinstance(caught.value, MemoryError)
    assert hostile.SEEN == []


@pytest.mark.parametrize("change", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_parts_are_refused(change):
    with pytest.raises(ValueError, match="compressed"):
        members(io.BytesIO(hostile.zipped({"a": bytes(1000)}, change)))
