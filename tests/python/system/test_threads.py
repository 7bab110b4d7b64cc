"""Threads of one process: none waits longer than needed, and none waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from tests.python.system.support import TIMEOUT_S, on_small_disk, run, worker

import flint

Result = TypeVar("Result")


def crew(count: int, work: Callable[[int], Result]) -> list[Result]:
    """Runs `work` on `count` threads that start together; raises what any of them raises."""
    together = threading.Barrier(count)

    def one(number: int) -> Result:
        together.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return [each.result(timeout=TIMEOUT_S) for each in [pool.submit(one, number) for number in range(count)]]


def test_sixty_four_threads_share_their_syncs(tmp_path: Path) -> None:
    threads, each = 64, 30
    with flint.Limiter(tmp_path, sync="always") as limiter:
        limiter.limit("a", 10**9, "1d", algorithm="fixed_window_counter")
        before = limiter.counters()["syncs"]
        crew(threads, lambda _: [limiter.check("a") for _ in range(each)])
        counters = limiter.counters()
        syncs = counters["syncs"] - before
        print(f"{threads * each} checks, {syncs} syncs")
        assert counters["durable_seq"] == counters["seq"]
        # Alone, each check needs one.
        assert syncs < threads * each / 4
        before = counters["syncs"]
        for _ in range(20):
            limiter.check("a")
        assert limiter.counters()["syncs"] - before == 20
    with flint.Limiter(tmp_path) as limiter:
        status = limiter.status("a")
        assert status is not None
        assert status.total_allowed == threads * each + 20


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_never_more_than_the_limit_is_allowed(sync: str, tmp_path: Path) -> None:
    with flint.Limiter(tmp_path, sync=sync) as limiter:
        for algorithm in ("token_bucket", "sliding_window_log", "fixed_window_counter"):
            limiter.limit(algorithm, 500, "52w", algorithm=algorithm)

            def take(_: int, key: str = algorithm) -> int:
                return sum(limiter.allow(key) for _ in range(100))

            assert sum(crew(16, take)) == 500
            status = limiter.status(algorithm)
            assert status is not None
            assert (status.total_allowed, status.total_denied, status.remaining) == (500, 1100, 0)


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_close_amid_checks(sync: str, tmp_path: Path) -> None:
    for _ in range(8):
        limiter = flint.Limiter(tmp_path, sync=sync, flush_every_ms=1)
        limiter.limit("a", 10**9, "1d", algorithm="fixed_window_counter")
        known = limiter.status("a")
        assert known is not None

        def check(number: int, limiter: flint.Limiter = limiter) -> int:
            taken = 0
            try:
                while True:
                    if number == 0 and taken == 30:
                        limiter.close()
                    if number == 1 and taken % 10 == 9:
                        limiter.compact()
                    if number == 2:
                        limiter.list()
                    limiter.check("a")
                    taken += 1
            except flint.ClosedError:
                return taken

        took = sum(crew(8, check))
        with flint.Limiter(tmp_path) as again:
            assert again.recovery.clean
            status = again.status("a")
            assert status is not None
            # What was allowed just before the close is durable even if its caller got a ClosedError at the same time.
            assert known.total_allowed + took <= status.total_allowed <= known.total_allowed + took + 8


def test_close_from_many_threads(tmp_path: Path) -> None:
    for _ in range(10):
        limiter = flint.Limiter(tmp_path)
        limiter.limit("a", "100/hour")
        close = limiter.close
        crew(16, lambda _, close=close: close())  # type: ignore[misc]
        assert limiter.closed


def test_opening_the_same_directory_from_many_threads(tmp_path: Path) -> None:
    def attempt(_: int) -> flint.Limiter | None:
        try:
            return flint.Limiter(tmp_path)
        except flint.DataDirLocked:
            return None

    for _ in range(5):
        opened = [limiter for limiter in crew(12, attempt) if limiter is not None]
        assert len(opened) == 1
        opened[0].close()


# A thread is stuck in an fdatasync that strace makes take long; meanwhile the main thread counts. Had the
# GIL been held, it could not count at all.
STUCK = """
import flint, sys, threading, time
limiter = flint.Limiter(sys.argv[1], sync=sys.argv[2], flush_every_ms=1)
limiter.limit("a", 10**9, "1d")
limiter.limit("none", "1/52w")
limiter.check("none")
call = eval(sys.argv[3])
entered, done = threading.Event(), threading.Event()
def stuck():
    entered.set()
    call()
    done.set()
print("ready", flush=True)
sys.stdin.readline()
thread = threading.Thread(target=stuck)
thread.start()
entered.wait()
counted = 0
answered = []
while not done.is_set():
    counted += 1
    if counted % 1000 == 0:
        # Calls that do not need the disk return in the meantime: reads, denials, and in batch mode all.
        answered.append(limiter.status("a").rate)
        answered.append(limiter.allow("none"))
thread.join()
print(counted, len(answered), flush=True)
"""


@pytest.mark.system
@pytest.mark.parametrize(
    ("sync", "call"),
    [
        ("always", 'lambda: limiter.check("a")'),
        ("always", 'lambda: limiter.check_all(["a"])'),
        ("always", 'lambda: limiter.limit("b", "1/m")'),
        ("batch", 'lambda: (limiter.check("a"), limiter.flush())'),
        ("batch", "lambda: limiter.compact()"),
        ("batch", 'lambda: flint.Limiter(sys.argv[1] + "/another").close()'),
    ],
    ids=lambda value: value.removeprefix("lambda: ") if isinstance(value, str) else None,
)
def test_the_gil_is_free_while_a_call_waits_for_the_disk(sync: str, call: str, tmp_path: Path) -> None:
    delay = "fdatasync:delay_enter=100000"
    log = tmp_path / "strace"
    wrapper = ["strace", "-f", "--seccomp-bpf", "-o", str(log), "-e", "trace=fdatasync", "-e", f"inject={delay}"]
    with worker(STUCK, tmp_path / "data", sync, call, wrapper=wrapper) as process:
        assert process.line() == "ready"
        process.say()
        counted, answered = map(int, process.line().split())
        process.end().ok()
    # 0.1 s are some millions of steps; with the GIL held it would be a few before and after the wait.
    assert counted > 10_000
    assert answered >= 20


def test_dropping_a_limiter_lets_others_run(tmp_path: Path) -> None:
    # On a disk that is full the drop still ends; on any disk no thread keeps the process from ending.
    code = """
    import flint, sys, threading
    def churn(number):
        for _ in range(15):
            limiter = flint.Limiter(f"{sys.argv[1]}/{number}", sync="batch")
            limiter.limit("a", "100/hour")
            limiter.check("a")
            del limiter
    threads = [threading.Thread(target=churn, args=(number,)) for number in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(threading.active_count())
    """
    assert run(code, tmp_path).ok().out == "1\n"


@pytest.mark.system
def test_waiting_for_room_never_hangs(tmp_path: Path) -> None:
    code = """
    import errno, flint, sys, threading
    limiter = flint.Limiter(sys.argv[1] + "/data", sync="batch")
    limiter.limit("a", 10**9, "1d", algorithm="fixed_window_counter")
    failed = []
    def check():
        for _ in range(200_000):
            try:
                limiter.check("a")
            except flint.StorageError as error:
                failed.append(error.errno)
                return
    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert set(failed) == {errno.ENOSPC} and len(failed) == 4, failed
    limiter.close()
    """
    run(code, tmp_path, wrapper=on_small_disk(tmp_path, "size=6m")).ok()
