"""Damage to a closed store is found, reported with file and offset, and left alone; or it makes no difference."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.python.system.support import contents, seed, segment, state, without

import flint
from flint._native import doctor

LOCK = "flint.lock"


def tiny(data_dir: Path) -> None:
    """One key, one check."""
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("a", 100, "52w", algorithm="fixed_window_counter")
        limiter.check("a", 3)


def small(data_dir: Path, *, compacted: bool) -> None:
    """A bit of everything."""
    with flint.Limiter(data_dir) as limiter:
        limiter.limit("fixed", 100, "52w", algorithm="fixed_window_counter")
        limiter.limit("log", 100, "52w", algorithm="sliding_window_log")
        limiter.limit("bucket", "10/52w; 100/52w burst 200")
        for cost in (1, 2, 3):
            limiter.check_all([("fixed", cost), ("log", cost), ("bucket", cost)])
        limiter.limit("gone", "1/m")
        limiter.delete("gone")
        limiter.check("é\n", limit="5/52w")
        limiter.check("bucket", 9)
        if compacted:
            limiter.compact()
            limiter.check("fixed", 7)
            limiter.reset("log")


def stamps(data_dir: Path) -> dict[str, tuple[int, ...]]:
    """What changes when a file does: faster to get than the content."""
    found = {path.name: path.stat() for path in data_dir.iterdir() if path.name != LOCK}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_nlink) for name, stat in found.items()}


def attempt(data_dir: Path) -> flint.Limiter | flint.StorageError:
    """The opened limiter, or why it was refused."""
    try:
        return flint.Limiter(data_dir)
    except flint.StorageError as error:
        return error


class Specimen:
    """A closed directory, and what opening it gives."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        with flint.Limiter(data_dir) as limiter:
            self.state = state(limiter)
        self.files = contents(data_dir)
        with flint.Limiter(data_dir, read_only=True) as limiter:
            assert state(limiter) == self.state
        assert contents(data_dir) == self.files

    def restore(self) -> None:
        """Everything as it was."""
        for path in self.data_dir.iterdir():
            if path.name not in self.files:
                path.unlink()
        for name, data in self.files.items():
            if not (self.data_dir / name).exists() or (self.data_dir / name).read_bytes() != data:
                (self.data_dir / name).write_bytes(data)

    def flip(self, path: Path, bit: int) -> bool:
        """Flips one bit, opens, flips it back. Gives whether the damage was found; fails if neither promise is kept."""
        offset = bit // 8
        with path.open("r+b", buffering=0) as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1 << bit % 8]))
        damaged = stamps(self.data_dir)
        result = attempt(self.data_dir)
        if isinstance(result, flint.Limiter):
            with result:
                assert state(result) == self.state, f"bit {bit} of {path.name}"
            self.restore()
            return False
        if isinstance(result, flint.CorruptData):
            assert Path(result.path).parent == self.data_dir, f"bit {bit} of {path.name}: {result}"
            assert result.offset >= 0
            assert result.path in str(result)
            assert f"byte {result.offset}" in str(result)
        else:
            # A version or feature bit: it might be a newer release's file.
            assert re.search("newer|version|format|feature", str(result)), f"bit {bit} of {path.name}: {result}"
            assert result.filename is not None
        assert stamps(self.data_dir) == damaged, f"bit {bit} of {path.name}: opening changed something"
        with path.open("r+b", buffering=0) as file:
            file.seek(offset)
            file.write(bytes([byte]))
        return True


def used(data: bytes) -> range:
    """The offsets up to the last byte that is not zero."""
    return range(len(data.rstrip(b"\0")))


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory whose fsyncs cost nothing, where there is one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as directory:
        yield Path(directory)


def test_every_bit_of_a_very_small_log(in_memory: Path) -> None:
    tmp_path = in_memory
    tiny(tmp_path)
    specimen = Specimen(tmp_path)
    log = segment(tmp_path)
    end = len(log.read_bytes().rstrip(b"\0"))
    assert end < 1000
    bits = range(end * 8)
    found = sum(specimen.flip(log, bit) for bit in bits)
    print(f"{found} of {len(bits)} flips found, the others changed nothing")
    assert without(contents(tmp_path), LOCK) == without(specimen.files, LOCK)
    assert found > len(bits) * 0.9


def test_every_byte_of_a_snapshot_and_its_log(tmp_path: Path) -> None:
    dice = seed()
    small(tmp_path, compacted=True)
    specimen = Specimen(tmp_path)
    tried = found = 0
    for path in sorted(tmp_path.glob("flint-*")):
        for offset in used(path.read_bytes())[dice.randrange(2) :: 2]:
            tried += 1
            found += specimen.flip(path, offset * 8 + dice.randrange(8))
    print(f"{found} of {tried} flips found, the others changed nothing")
    assert any(tmp_path.glob("*.snapshot"))
    assert found > tried * 0.9


def test_zeros_behind_the_end_and_the_place_of_the_seal(tmp_path: Path) -> None:
    dice = seed()
    small(tmp_path, compacted=False)
    specimen = Specimen(tmp_path)
    log = segment(tmp_path)
    size = log.stat().st_size
    offsets = [*dice.sample(range(size), 60), *range(size - 96, size)]
    for offset in offsets:
        specimen.flip(log, offset * 8 + dice.randrange(8))


@pytest.mark.parametrize("compacted", [False, True])
def test_a_file_cut_short(compacted: bool, tmp_path: Path) -> None:
    small(tmp_path, compacted=compacted)
    specimen = Specimen(tmp_path)
    for path in sorted(tmp_path.glob("flint-*")):
        data = path.read_bytes()
        for length in {0, 1, 63, 64, 65, 200, len(data) // 2, len(data) - 97, len(data) - 1}:
            if length >= len(data):
                continue
            path.write_bytes(data[:length])
            damaged = without(contents(tmp_path), LOCK)
            with pytest.raises(flint.CorruptData):
                flint.Limiter(tmp_path)
            assert without(contents(tmp_path), LOCK) == damaged
        path.write_bytes(data)
    with flint.Limiter(tmp_path) as limiter:
        assert state(limiter) == specimen.state


@pytest.mark.parametrize("compacted", [False, True])
def test_a_missing_file_is_never_an_empty_start(compacted: bool, tmp_path: Path) -> None:
    small(tmp_path, compacted=compacted)
    specimen = Specimen(tmp_path)
    names = [name for name in specimen.files if name != LOCK]
    for missing in [*([name] for name in names), names]:
        for name in missing:
            (tmp_path / name).unlink()
        before = without(contents(tmp_path), LOCK)
        with pytest.raises(flint.CorruptData, match="missing"):
            flint.Limiter(tmp_path)
        with pytest.raises(flint.CorruptData, match="missing"):
            flint.Limiter(tmp_path, read_only=True)
        assert without(contents(tmp_path), LOCK) == before
        specimen.restore()
    with flint.Limiter(tmp_path) as limiter:
        assert state(limiter) == specimen.state


def sample_damage(specimen: Specimen, dice: Iterable[int]) -> Iterator[tuple[Path, int]]:
    for path in sorted(specimen.data_dir.glob("flint-*")):
        end = len(path.read_bytes().rstrip(b"\0"))
        for place in dice:
            yield path, place % (end * 8)


def test_doctor_agrees_with_opening(tmp_path: Path) -> None:
    dice = seed()
    small(tmp_path, compacted=True)
    specimen = Specimen(tmp_path)
    assert doctor(tmp_path)["ok"]
    for path, bit in sample_damage(specimen, [dice.getrandbits(30) for _ in range(8)]):
        data = bytearray(path.read_bytes())
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        damaged = contents(tmp_path)
        report = doctor(tmp_path)
        assert contents(tmp_path) == damaged, "doctor changed something"
        result = attempt(tmp_path)
        if isinstance(result, flint.Limiter):
            result.close()
            assert report["ok"], (path.name, bit, report["problems"])
        else:
            assert not report["ok"], (path.name, bit, result)
            assert any(str(tmp_path) in problem for problem in report["problems"])
            if isinstance(result, flint.CorruptData):
                place = f"{result.path} at byte {result.offset}:"
                assert any(problem.startswith(place) for problem in report["problems"]), (result, report["problems"])
        specimen.restore()
    assert doctor(tmp_path)["problems"] == []


def cli(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "flint", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_command_line_agrees(tmp_path: Path) -> None:
    small(tmp_path, compacted=False)
    specimen = Specimen(tmp_path)
    assert cli("--data-dir", tmp_path, "doctor")[0] == 0
    specimen.restore()
    log = segment(tmp_path)
    data = bytearray(log.read_bytes())
    data[130] ^= 4
    log.write_bytes(data)
    damaged = contents(tmp_path)
    status, text = cli("--data-dir", tmp_path, "doctor")
    assert status != 0
    assert log.name in text.replace("\n", "")
    status, text = cli("--data-dir", tmp_path, "limit", "list")
    assert status == 3
    status, text = cli("--data-dir", tmp_path, "limit", "check", "fixed")
    assert status == 3
    assert log.name in text.replace("\n", "")
    assert without(contents(tmp_path), LOCK) == without(damaged, LOCK)


def crc32c(data: bytes | bytearray) -> int:
    """The Castagnoli checksum, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("change", [(b'"version":2', b'"version":3'), (b'"features":0', b'"features":8')])
def test_a_newer_snapshot_format_is_refused_and_not_touched(change: tuple[bytes, bytes], tmp_path: Path) -> None:
    small(tmp_path, compacted=True)
    snapshot = next(tmp_path.glob("*.snapshot"))
    newer = snapshot.read_bytes()[:-67].replace(*change, 1)
    snapshot.write_bytes(newer + hashlib.sha256(newer).hexdigest().encode() + b'"}\n')
    before = contents(tmp_path)
    for read_only in (False, True):
        with pytest.raises(flint.StorageError, match="newer") as refused:
            flint.Limiter(tmp_path, read_only=read_only)
        assert not isinstance(refused.value, flint.CorruptData)
        assert refused.value.filename == str(snapshot)
    assert without(contents(tmp_path), LOCK) == without(before, LOCK)
    assert not doctor(tmp_path)["ok"]


@pytest.mark.parametrize("offset", [8, 16, 23], ids=["version", "feature", "last feature"])
def test_a_newer_log_format_is_refused_and_not_touched(offset: int, tmp_path: Path) -> None:
    small(tmp_path, compacted=False)
    log = segment(tmp_path)
    data = bytearray(log.read_bytes())
    assert data[:8] == b"FLINTSEG"
    assert int.from_bytes(data[8:12], "little") == 2
    assert int.from_bytes(data[60:64], "little") == crc32c(data[:60])
    data[offset] += 4
    data[60:64] = crc32c(data[:60]).to_bytes(4, "little")
    log.write_bytes(data)
    before = contents(tmp_path)
    with pytest.raises(flint.StorageError, match="newer") as refused:
        flint.Limiter(tmp_path)
    assert not isinstance(refused.value, flint.CorruptData)
    assert refused.value.filename == str(log)
    assert without(contents(tmp_path), LOCK) == without(before, LOCK)


def test_files_of_another_store_are_recognised(tmp_path: Path) -> None:
    for name in ("one", "other"):
        small(tmp_path / name, compacted=True)
    one, other = tmp_path / "one", tmp_path / "other"
    snapshot = next(other.glob("*.snapshot"))
    shutil.copy(snapshot, one / snapshot.name)
    before = contents(one)
    with pytest.raises(flint.CorruptData, match="store"):
        flint.Limiter(one)
    assert without(contents(one), LOCK) == without(before, LOCK)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    mine = {"notes.txt": b"mine", "flint-1.aof": b"not yours", "flint-spare.tmp.bak": b"x"}
    for name, data in mine.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    small(tmp_path, compacted=True)
    Specimen(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in mine} == mine
    assert (tmp_path / "folder").is_dir()


def test_an_unreadable_file_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    small(tmp_path, compacted=False)
    log = segment(tmp_path)
    log.rename(tmp_path / "aside")
    log.mkdir()
    with pytest.raises(flint.StorageError):
        flint.Limiter(tmp_path)
    log.rmdir()
    (tmp_path / "aside").rename(log)
    with flint.Limiter(tmp_path) as limiter:
        assert limiter.status("fixed") is not None
    assert os.listdir(tmp_path)
