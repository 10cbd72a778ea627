"""A file that is not exactly what was written is refused, and a crash leaves the old one."""

import io
import json
import os
import zipfile

import numpy as np
import pytest

from innvestigate.utils.archive import pack, unpacked
from innvestigate.utils.files import FileRefusedError, replacing

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
