"""docs/storage-format.md is true: a reader written from the page alone understands every byte of real files."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flint
from flint import _native
from flint.testing import ManualClock

HEADER = struct.Struct("<8sIIQQQQ12xI")
SEAL = struct.Struct("<8sQQ32sII")
RECORD = struct.Struct("<IIQIIQ")
KINDS = {
    1: "ALLOW",
    2: "LIMIT_CONFIGURED",
    3: "RESET",
    4: "LIMIT_DELETED",
    5: "DENY",
    6: "GROUP",
    7: "ANCHOR",
    8: "SNAPSHOT_MARK",
    9: "CLOSE",
}


def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


TABLE = _table()


def crc32c(data: bytes, seed: int = 0) -> int:
    crc = seed ^ 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Record:
    offset: int
    seq: int
    kind: int
    durable: int
    engine_ns: int
    body: bytes


@dataclass(frozen=True)
class Segment:
    store_id: int
    first_seq: int
    prev_crc: int
    records: list[Record]
    last_crc: int
    sealed: bool


def read_segment(path: Path) -> Segment:
    data = path.read_bytes()
    magic, version, prev_crc, features, store_id, first_seq, length, header_crc = HEADER.unpack_from(data)
    assert (magic, version, features, length) == (b"FLINTSEG", 2, 0, len(data))
    assert len(data) % 4096 == 0
    assert header_crc == crc32c(data[:60])
    assert path.name == f"flint-{first_seq:020}.aof"
    seed = crc32c(struct.pack("<QQ", store_id, first_seq))
    records = []
    at, seq, crc = 64, first_seq, prev_crc
    while any(data[at : at + 24]):
        own, previous, number, kind_and_words, flags_and_lag, engine_ns = RECORD.unpack_from(data, at)
        words, lag = kind_and_words >> 8, flags_and_lag >> 8
        assert (previous, number, flags_and_lag & 0xFF) == (crc, seq, 0)
        assert own == crc32c(data[at + 4 : at + words * 8], seed)
        durable = 0 if lag == 2**24 - 1 else seq - lag
        records.append(Record(at, seq, kind_and_words & 0xFF, durable, engine_ns, data[at + 32 : at + words * 8]))
        at, seq, crc = at + words * 8, seq + 1, own
    assert not any(data[at:-64]), "zeros behind the last record"
    sealed = any(data[-64:])
    if sealed:
        magic, end, last_seq, sha256, last_crc, seal_crc = SEAL.unpack(data[-64:])
        assert (magic, end, last_seq, last_crc) == (b"FLINTEND", at, seq - 1, crc)
        assert sha256 == hashlib.sha256(data[:at]).digest()
        assert seal_crc == crc32c(data[-64:-4], seed)
    return Segment(store_id, first_seq, prev_crc, records, crc, sealed)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A closed store with a record of every kind that today's calls write."""
    clock = ManualClock()
    with flint.Limiter(tmp_path / "data", clock=clock) as limiter:
        limiter.limit("bucket", "10/minute; 100/day")
        limiter.limit("ключ", 10, "1m", algorithm="fixed_window_counter")
        limiter.check("bucket", cost=3)
        clock.advance(ms=1, ns=1)
        limiter.check("log", cost=2, limit=flint.Limit(5, "1m", algorithm="sliding_window_log"))
        limiter.check("log", cost=1)
        limiter.check_all([("bucket", 2), "ключ"])
        limiter.check("log", cost=5)
        limiter.reset("bucket")
        limiter.limit_many([{"key": "gone", "rate": "1/s"}, {"key": "stays", "rate": "1/s"}])
        limiter.delete("gone")
        for limit in ("5/minute", "9/hour"):
            for key in ("several", "replaced", "reset", "deleted"):
                limiter.check(key, limit=limit)
        limiter.check_all([{"key": "several", "limit": "9/hour"}, {"key": "several", "limit": "5/minute"}])
        limiter.limit("replaced", "20/hour")
        limiter.reset("reset")
        limiter.delete("deleted")
        limiter.compact()
        limiter.check("ключ", cost=4)
    return tmp_path / "data"


def test_the_first_page_of_files(store: Path) -> None:
    names = sorted(path.name for path in store.iterdir())
    assert names[0] == "flint-00000000000000000001.aof"
    assert names[2:] == ["flint.lock"]
    assert store.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.iterdir()} == {0o600}
    segment = read_segment(store / names[0])
    started = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19]
    assert (store / "flint.lock").read_text().splitlines() == [
        str(os.getpid()),
        f"store {segment.store_id:016x}",
        f"pid-namespace {os.stat('/proc/self/ns/pid').st_ino}",
        f"started {started}",
    ]


def test_records(store: Path) -> None:
    segment = read_segment(store / "flint-00000000000000000001.aof")
    kinds = [record.kind for record in segment.records]
    assert set(kinds) == set(KINDS)
    assert kinds[-1] == 9
    assert segment.records[-1].durable == segment.records[-1].seq - 1
    assert [record.seq for record in segment.records] == list(range(1, len(kinds) + 1))
    dumped: list[dict[str, object]] = []
    _native.dump(store, 0, dumped.append)
    assert [(each["seq"], each["offset"]) for each in dumped] == [(each.seq, each.offset) for each in segment.records]


def test_bodies(store: Path) -> None:
    records = read_segment(store / "flint-00000000000000000001.aof").records
    minute_ns, day_ns = 60 * 10**9, 86_400 * 10**9

    configured = next(record.body for record in records if record.kind == 2)
    assert struct.unpack_from("<QHBB4x", configured) == (1, len("bucket"), 2, 0)
    assert struct.unpack_from("<QQQBB6xQ", configured, 16) == (10, 60_000, 10, 0, 255, 0)
    assert struct.unpack_from("<QQQBB6xQ", configured, 56) == (100, 86_400_000, 100, 0, 255, 0)
    assert configured[96:] == b"bucket\0\0"

    allowed = [record for record in records if record.kind == 1]
    identity, cost, *used = struct.unpack("<QQQQQQ", allowed[0].body)
    assert (identity, cost) == (1, 3)
    assert used == [3 * minute_ns, 0, 3 * day_ns & 2**64 - 1, 3 * day_ns >> 64]
    assert struct.unpack("<QQQQ", allowed[1].body) == (3, 1, 3, 0), "the sliding log: the sum within the period"
    identity, cost, start_ns, consumed = struct.unpack("<QQQQ", allowed[2].body)
    assert (identity, cost, consumed) == (2, 4, 5), "the fixed window: its start and what was consumed in it"
    assert start_ns <= allowed[2].engine_ns

    purposes = [struct.unpack_from("<II", record.body) for record in records if record.kind == 6]
    brought = [(2, 3)] * 8
    assert purposes == [(2, 3), (2, 2), (2, 1), *brought, (2, 2), (3, 5), (2, 6), (2, 7)]
    grouped = [list(operations(record.body)) for record in records if record.kind == 6]
    assert [[kind for kind, _ in group] for group in grouped[-4:]] == [[1, 1], [2, 11, 4], [3, 3], [4, 4]]
    (_, configured), (_, totals), (_, removed) = grouped[-3]
    heir, *numbers = struct.unpack("<8Q", totals)
    assert (heir, numbers[:4], numbers[6]) == (struct.unpack_from("<Q", configured)[0], [2, 2, 0, 0], 0)
    assert struct.unpack("<Q", removed)[0] != heir

    denials = next(record.body for record in records if record.kind == 5)
    assert struct.unpack_from("<QQQQ", denials) == (1, 3, 1, 5)
    assert struct.unpack_from("<QQ", denials, 40) == (1, 5)

    (mark,) = (record for record in records if record.kind == 8)
    start, end = struct.unpack("<QQ", mark.body)
    assert start <= end == mark.seq - 1
    assert (store / f"flint-{start:020}.snapshot").exists()


def test_snapshot(store: Path) -> None:
    (path,) = store.glob("*.snapshot")
    content = path.read_bytes()
    header, *keys, trailer = map(json.loads, content.splitlines())
    segment = read_segment(store / "flint-00000000000000000001.aof")
    assert header == {
        "format": "flint-snapshot",
        "version": 2,
        "features": 0,
        "store": f"{segment.store_id:016x}",
        "start": int(path.stem.removeprefix("flint-")),
        "engine_ns": header["engine_ns"],
        "wall_ns": header["wall_ns"],
        "migrated": None,
    }
    assert list(trailer) == ["end", "next_id", "keys", "sha256"]
    assert (trailer["keys"], trailer["next_id"]) == (len(keys), 14)
    assert trailer["sha256"] == hashlib.sha256(content[: content.rindex(trailer["sha256"].encode())]).hexdigest()
    by_key = {each["key"]: each for each in keys}
    assert set(by_key) == {"bucket", "ключ", "log", "stays", "several", "replaced", "reset"}
    both = [each for each in keys if each["key"] == "several"]
    last = both[0]["seq"]
    assert [(each["seq"], each.get("used")) for each in both] == [(last, [last, 1]), (last, None)]
    reset = [each for each in keys if each["key"] == "reset"]
    assert [each["used"][0] < each["seq"] for each in reset] == [True, True]
    assert by_key["bucket"]["rates"] == [["token_bucket", 10, 60_000, 10], ["token_bucket", 100, 86_400_000, 100]]
    assert by_key["log"]["origin"] == "call"
    assert by_key["log"]["rates"] == [["sliding_window_log", 5, 60_000]]
    (runs,) = by_key["log"]["state"]
    assert runs[1::2] == [3], "two checks in the same millisecond, rounded up, are one run"
    assert by_key["log"]["totals"][:4] == [2, 3, 1, 5]
    assert "totals" not in by_key["stays"]
    assert "origin" not in by_key["stays"]
    # What json.dumps writes without spaces is the exact form, too.
    for line in content.splitlines():
        assert json.dumps(json.loads(line), separators=(",", ":"), ensure_ascii=False).encode() == line


GOLDEN = Path(__file__).parents[1] / "golden/format-2/repeatable/data"


class Answer:
    """The answer at the front of `data`, read as the page says."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 1
        self.form = data[0]
        self.retry_after_ns = self.number() if self.form == 2 else None
        self.keys = [self.key() for _ in range(self.number() if self.form == 2 else 1)]

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def numbers(self, count: int) -> list[int]:
        return [self.number() for _ in range(count)]

    def key(self) -> dict[str, Any]:
        head = self.byte()
        rates = head & 0x7F
        cost, reset_at_ns = self.numbers(2)
        figures = self.numbers(4) if rates > 1 else None
        each = [(self.byte(), self.numbers(6)) for _ in range(rates)]
        return {"allowed": head >> 7, "cost": cost, "reset_at_ns": reset_at_ns, "figures": figures, "rates": each}


def operations(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 8
    while at < len(body):
        (kind_and_words,) = struct.unpack_from("<I4x", body, at)
        end = at + 8 + (kind_and_words >> 8) * 8
        yield kind_and_words & 0xFF, body[at + 8 : end]
        at = end


def test_idempotency_records() -> None:
    """Nothing in Python makes calls that may be repeated without a server, so a store that is kept stands for it."""
    segments = [read_segment(path) for path in sorted(GOLDEN.glob("*.aof"))]
    found = {}
    for record in (record for segment in segments for record in segment.records if record.kind == 6):
        count, purpose = struct.unpack_from("<II", record.body)
        kinds = [kind for kind, _ in operations(record.body)]
        assert len(kinds) == count
        if kinds[-1] == 34:
            (*_, (_, receipt)) = operations(record.body)
            found[receipt[0]] = (record, purpose, kinds, receipt)
    assert list(found) == [0x10, 0x11, 0x13, 0x20, 0x21, 0x23]
    purposes = [(purpose, kinds) for _, purpose, kinds, _ in found.values()]
    assert purposes[:3] == [(4, [1, 34]), (3, [2, 1, 34]), (2, [1, 1, 1, 34])]
    assert purposes[3:] == [(4, [1, 34]), (4, [1, 34]), (2, [1, 1, 1, 34])]
    for number, (record, purpose, _, receipt) in found.items():
        assert receipt[:16] == bytes([number]) * 16
        assert receipt[16:24] == bytes([0xF0 | number & 0xF]) * 8
        answer = Answer(receipt[24:])
        assert receipt[24 + answer.at :] == bytes(-answer.at % 8)
        assert answer.form == (2 if purpose == 2 else 1)
        assert answer.retry_after_ns == (0 if purpose == 2 else None)
        for key in answer.keys:
            assert key["allowed"]
            for head, (limit, per_ms, burst, remaining, retry_after_ns, reset_after_ns) in key["rates"]:
                assert head & 0x80
                assert limit > 0
                assert per_ms > 0
                assert remaining < burst
                assert retry_after_ns == 0
                assert reset_after_ns > 0
            if len(key["rates"]) > 1:
                # The rate that binds has the fewest left.
                limit, remaining, retry_after_ns, reset_after_ns = key["figures"]
                assert remaining == min(rate[3] for _, rate in key["rates"])
                assert [limit, remaining, retry_after_ns, reset_after_ns] in [
                    [rate[0], *rate[3:]] for _, rate in key["rates"]
                ]
            else:
                assert key["figures"] is None
        assert answer.keys[0]["cost"] == {0: 2, 1: 3, 3: 1}[number & 0xF]
        # Engine time and wall time do not differ in this store.
        first = answer.keys[0]
        resets = [rate[5] for _, rate in first["rates"]]
        assert first["reset_at_ns"] in [record.engine_ns + reset for reset in resets]

    (path,) = GOLDEN.glob("*.snapshot")
    header, *lines, trailer = map(json.loads, path.read_bytes().splitlines())
    assert list(trailer) == ["end", "next_id", "keys", "receipts", "sha256"]
    keys, remembered = lines[: trailer["keys"]], lines[trailer["keys"] :]
    assert all("id" in line for line in keys)
    assert len(remembered) == trailer["receipts"] == 3
    for line in remembered:
        record, _, _, receipt = found[int(line["receipt"][:2], 16)]
        assert list(line) == ["receipt", "fingerprint", "seq", "at_ns", "answer"]
        assert (line["receipt"], line["fingerprint"]) == (receipt[:16].hex(), receipt[16:24].hex())
        assert (line["seq"], line["at_ns"]) == (record.seq, record.engine_ns)
        answer_bytes = bytes.fromhex(line["answer"])
        assert receipt[24:].rstrip(b"\0") == answer_bytes.rstrip(b"\0")
        assert Answer(answer_bytes).at == len(answer_bytes)
        assert line["seq"] <= header["start"]
        assert line["at_ns"] <= header["engine_ns"]


def test_segments_follow_each_other(tmp_path: Path) -> None:
    """Keys of 512 bytes fill a segment quickly."""
    with flint.Limiter(tmp_path / "data", sync="batch") as limiter:
        for start in range(0, 9000, 1000):
            limiter.limit_many([{"key": f"{number:0512}", "rate": "1/s"} for number in range(start, start + 1000)])
            limiter.flush()
    paths = sorted((tmp_path / "data").glob("*.aof"))
    segments = [read_segment(path) for path in paths]
    assert len(segments) >= 2
    assert not segments[-1].sealed
    assert segments[0].sealed
    assert segments[0].prev_crc == 0
    for before, after in itertools.pairwise(segments):
        assert after.first_seq == before.first_seq + len(before.records)
        assert after.prev_crc == before.last_crc


def test_a_migrated_store(tmp_path: Path) -> None:
    legacy = Path(__file__).parents[1] / "legacy-data/v0_2_log_only/data"
    shutil.copytree(legacy, tmp_path / "data")
    flint.Limiter(tmp_path / "data").close()
    sha256 = hashlib.sha256((legacy / "flint.aof").read_bytes())
    segment = read_segment(tmp_path / "data/flint-00000000000000000001.aof")
    assert segment.store_id == int.from_bytes(sha256.digest()[:8], "little")
    (snapshot,) = (tmp_path / "data").glob("*.snapshot")
    header = json.loads(snapshot.read_bytes().splitlines()[0])
    assert header["migrated"] == {"release": "0.2", "sha256": sha256.hexdigest()}
    covered = [record for record in segment.records if record.seq <= header["start"]]
    assert [record.kind for record in covered[:-1]] == [10] * (len(covered) - 1)
    assert covered[-1].kind == 7
    kind, zero, length, cost, count = struct.unpack_from("<BBH4xQQ", covered[0].body)
    assert (kind, zero, cost, count) == (0, 0, 0, 1)
    assert covered[0].body[24 : 24 + length] == b"token_bucket"
