"""Files that no writer made: whatever their length says, reading them takes little memory and ends with an error."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest
from tests.python.system.support import run

GIB = 2**30
SEGMENT = "flint-00000000000000000001.aof"
NEXT_SEGMENT = "flint-00000000000000000002.aof"
SNAPSHOT = "flint-00000000000000000001.snapshot"

# Every way to read a directory, in little memory: address space, because that is what an allocation asks for first.
READ = """
import resource, sys
import flint, flint._native
data = sys.argv[1]
resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))

def opened(**options):
    flint.Limiter(data, **options).close()

def examined():
    report = flint._native.doctor(data)
    if not report["ok"]:
        raise flint.CorruptData(report["problems"][0])

def repaired():
    flint._native.repair(data, data + ".repaired")

def dumped():
    flint._native.dump(data, 0, lambda record: None)

for call in (opened, lambda: opened(read_only=True), examined, repaired, dumped):
    try:
        call()
        print("accepted")
    except flint.StorageError as error:
        print(type(error).__name__, error)
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
print(peak)
"""
MAX_PEAK_KIB = 160 << 10


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def header(first_seq: int, length: int) -> bytes:
    """A segment's header, intact."""
    start = b"FLINTSEG" + struct.pack("<IIQQQQ", 1, 0, 0, 7, first_seq, length) + bytes(12)
    return start + struct.pack("<I", crc32c(start))


def sparse(path: Path, length: int, start: bytes = b"") -> None:
    """A file that is a hole behind its start."""
    path.write_bytes(start)
    os.truncate(path, length)


def snapshot(*lines: str) -> bytes:
    """A snapshot of these lines, with its checksum."""
    first = '{"format":"flint-snapshot","version":1,"features":0,"store":"0000000000000007","start":1,'
    first += '"engine_ns":1,"wall_ns":1,"migrated":null}'
    end = f'{{"end":1,"next_id":2,"keys":{len(lines)},"sha256":"'
    text = "\n".join([first, *lines, end]).encode()
    return text + hashlib.sha256(text).hexdigest().encode() + b'"}\n'


def key_line(key: str, more: str = "") -> str:
    """A key's line."""
    return f'{{"id":1,"seq":1,"key":"{key}"{more},"rates":[["token_bucket",10,1000,10]],"state":[[0,1]]}}'


def read(directory: Path) -> list[str]:
    """What each way to read it says."""
    *answers, peak = run(READ, directory).ok().out.splitlines()
    assert int(peak) < MAX_PEAK_KIB, peak
    return answers


@pytest.mark.parametrize("length", [64 * GIB, 2 * GIB, GIB + 4096])
@pytest.mark.parametrize("name", [SEGMENT, NEXT_SEGMENT])
def test_a_segment_longer_than_any(name: str, length: int, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    number = int(name[6:-4])
    if number > 1:
        (directory / SNAPSHOT).write_bytes(snapshot(key_line("a")))
    sparse(directory / name, length, header(number, length))
    answers = read(directory)
    assert not any(answer == "accepted" for answer in answers[:3]), answers
    assert "the segment's length is impossible" in answers[0], answers


@pytest.mark.parametrize("length", [64 * GIB, 2 * GIB])
def test_a_segment_without_a_header(length: int, tmp_path: Path) -> None:
    """As a power cut may leave it, but for its length."""
    directory = tmp_path / "data"
    directory.mkdir()
    run("import flint, sys; flint.Limiter(sys.argv[1]).close()", directory).ok()
    sparse(directory / "flint-00000000000000009999.aof", length)
    answers = read(directory)
    assert all("longer than any segment" in answer for answer in (answers[0], answers[1], answers[2])), answers


@pytest.mark.parametrize("start", [b"", snapshot(key_line("a"))[:300]], ids=["from the start", "behind a line"])
def test_eight_gib_of_zeros_as_a_snapshot(start: bytes, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    sparse(directory / SNAPSHOT, 8 * GIB, start)
    answers = read(directory)
    assert all("control character" in answer for answer in answers[:3]), answers


@pytest.mark.parametrize("name", ["flint.aof", "flint.snapshot"])
def test_eight_gib_of_zeros_as_a_file_of_an_old_release(name: str, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    if name == "flint.snapshot":
        (directory / "flint.aof").write_bytes(b"")
        sparse(directory / name, 8 * GIB, b"{")
        answers = read(directory)
        assert all("it holds zeros" in answer for answer in answers[:3]), answers
    else:
        # A log that was never written to, or a write that a crash cut short: nothing was acknowledged.
        sparse(directory / name, 8 * GIB)
        assert read(directory)[1] == "accepted"


@pytest.mark.parametrize("length", [0, 513, 65_536, 1_000_000])
def test_a_key_that_no_call_accepts(length: int, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / SNAPSHOT).write_bytes(snapshot(key_line("k" * length)))
    sparse(directory / NEXT_SEGMENT, 16384, header(2, 16384))
    answers = read(directory)
    assert all("a key that is empty or too long" in answer for answer in answers[:3]), answers


def test_the_crafted_files_are_accepted_where_they_are_within_the_bounds(tmp_path: Path) -> None:
    """So that the tests above test what they say."""
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / SNAPSHOT).write_bytes(snapshot(key_line("k" * 512)))
    sparse(directory / NEXT_SEGMENT, 16384, header(2, 16384))
    assert read(directory) == ["accepted"] * 5
