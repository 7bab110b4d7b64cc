"""Real event loops: slow disks, loops that are closed early, in threads, at the end of the process, and uvloop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.python.system.support import Ran, run, worker

import flint

# Every script runs with both kinds of loop: RUN(main()) runs a coroutine, NEW() makes a loop.
PRELUDE = """
import asyncio, gc, os, sys, threading
import flint
data, kind = sys.argv[1], sys.argv[2]
if kind == "uvloop":
    import uvloop
    NEW, RUN = uvloop.new_event_loop, uvloop.run
else:
    NEW, RUN = asyncio.new_event_loop, asyncio.run

def threads():
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as file:
                names.append(file.read().strip())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return names

def sockets():
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            pass
    return sum(name.startswith("socket:") for name in names)
"""

each_loop = pytest.mark.parametrize("kind", ["asyncio", "uvloop"])


def slow_disk() -> Sequence[str]:
    """A wrapper under which every fdatasync takes a third of a second longer."""
    delay = "inject=fdatasync:delay_enter=300ms"
    return ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", delay]


def scenario(code: str, data_dir: Path, kind: str, *, wrapper: Sequence[str] = ()) -> Ran:
    return run(PRELUDE + code, data_dir, kind, flags=("-X", "dev", "-W", "error"), wrapper=wrapper).ok()


@each_loop
@pytest.mark.system
def test_the_loop_goes_on_while_the_disk_works(tmp_path: Path, kind: str) -> None:
    """While one fsync is held up, the loop turns and every other call is answered or waits."""
    code = """
async def main():
    limiter = flint.Limiter(data, sync="always")
    limiter.limit("k", "100/day")
    before = limiter.counters()
    calls = [asyncio.create_task(limiter.acheck("k")) for _ in range(50)]
    turns = 0
    while not any(call.done() for call in calls):
        turns += 1
        await asyncio.sleep(0)
        if turns == 100:
            assert (await limiter.astatus("k")).total_allowed == 50, "all are decided, none is acknowledged"
            for _ in range(60):
                await limiter.apeek("k")
    assert turns > 100, "it turned while the disk was at work"
    assert all(await asyncio.gather(*calls))
    after = limiter.counters()
    assert after["syncs"] - before["syncs"] <= 2, (before, after)
    assert after["durable_seq"] == after["seq"]
    limiter.close()

RUN(main())
"""
    scenario(code, tmp_path / "data", kind, wrapper=slow_disk())


@each_loop
@pytest.mark.system
def test_a_call_that_finds_no_room_in_the_log_is_an_awaitable(tmp_path: Path, kind: str) -> None:
    """The next segment is made slowly: calls that would wait for it are executed by threads, and the loop turns."""
    code = """
async def main():
    limiter = flint.Limiter(data, sync="batch")
    limiter.limit("k", 10**9, "52w", algorithm="fixed_window_counter")
    awaited, turns, taken = [], 0, 0
    while not awaited:
        for _ in range(1000):
            started = limiter._start(flint._native._CheckCall("k", 1, None))
            assert started is not None
            taken += 1
            if type(started) is not flint.CheckResult:
                awaited.append(asyncio.ensure_future(started))
                break
    while not awaited[0].done():
        turns += 1
        await asyncio.sleep(0.001)
    assert turns > 20, "the loop went on"
    assert (await awaited[0]).allowed
    assert (await limiter.acheck("k")).remaining == 10**9 - taken - 1
    limiter.close()

RUN(main())
"""
    data = tmp_path / "data"
    wrapper = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-P", str(data / "flint-spare.tmp")]
    wrapper += ["-e", "trace=pwrite64", "-e", "inject=pwrite64:delay_enter=2000"]
    scenario(code, data, kind, wrapper=wrapper)


@each_loop
def test_batch_mode_uses_no_thread_and_no_socket(tmp_path: Path, kind: str) -> None:
    code = """
async def main():
    async with flint.Limiter(data, sync="batch") as limiter:
        await limiter.alimit("k", "1000/day")
        await limiter.acheck("k")
        before = len(threads()), sockets()
        for _ in range(500):
            assert (await limiter.acheck("k")).allowed
            await limiter.areset("k")
        assert (len(threads()), sockets()) == before
        assert not any("wake" in name for name in threads()), threads()

RUN(main())
"""
    scenario(code, tmp_path / "data", kind)


@each_loop
def test_all_loops_share_one_native_thread(tmp_path: Path, kind: str) -> None:
    code = """
limiter = flint.Limiter(data, sync="always")
limiter.limit("k", "100000/day")

async def main():
    results = await asyncio.gather(*(limiter.acheck("k") for _ in range(300)))
    assert all(results)
    # Each loop sees its own calls in order.
    remaining = [result.remaining for result in results]
    assert remaining == sorted(remaining, reverse=True)

failed = []
def in_thread():
    loop = NEW()
    try:
        loop.run_until_complete(main())
    except BaseException as error:
        failed.append(error)
    finally:
        loop.close()

for _ in range(3):
    running = [threading.Thread(target=in_thread) for _ in range(4)]
    for thread in running: thread.start()
    for thread in running: thread.join()
assert not failed, failed
assert limiter.status("k").total_allowed == 3 * 4 * 300
assert sum(name == "flint-wake" for name in threads()) == 1, threads()
limiter.close()
# The system shows a thread that was joined for a moment longer.
pause = threading.Event()
for _ in range(10_000):
    if not any(name.startswith("flint") for name in threads()):
        break
    pause.wait(0.001)
else:
    raise AssertionError(threads())
"""
    scenario(code, tmp_path / "data", kind)


@each_loop
@pytest.mark.system
def test_a_loop_that_is_closed_early_disturbs_no_other(tmp_path: Path, kind: str) -> None:
    code = """
limiter = flint.Limiter(data, sync="always")
limiter.limit("k", "100/day")
loop = NEW()
async def abandoned():
    await limiter.acheck("k")
task = loop.create_task(abandoned())
# Runs until the call waits for the disk, which takes a while.
loop.run_until_complete(asyncio.sleep(0))
task._log_destroy_pending = False
loop.close()
# Another loop, and threads, go on.
async def main():
    return await asyncio.gather(*(limiter.acheck("k") for _ in range(10)))
assert all(RUN(main()))
assert limiter.check("k").allowed
del task, loop
gc.collect()
assert limiter.status("k").total_allowed == 12
limiter.close()
with flint.Limiter(data) as again:
    assert again.status("k").total_allowed == 12
"""
    scenario(code, tmp_path / "data", kind, wrapper=slow_disk())


@each_loop
@pytest.mark.system
def test_a_limiter_that_only_an_abandoned_call_holds_is_let_go(tmp_path: Path, kind: str) -> None:
    code = """
loop = NEW()
async def abandoned():
    limiter = flint.Limiter(data, sync="always")
    limiter.limit("k", "100/day")
    await limiter.acheck("k")
task = loop.create_task(abandoned())
loop.run_until_complete(asyncio.sleep(0))
task._log_destroy_pending = False
loop.close()
del task, loop
gc.collect()
with flint.Limiter(data) as again:
    assert again.status("k").total_allowed == 1
"""
    scenario(code, tmp_path / "data", kind, wrapper=slow_disk())


@each_loop
def test_a_closed_limiter_leaves_nothing_in_the_loop(tmp_path: Path, kind: str) -> None:
    code = """
async def main():
    await asyncio.sleep(0)
    before = sockets()
    for n in range(20):
        limiter = flint.Limiter(data, sync="always")
        await limiter.acheck("k", limit="1000/day")
        assert sockets() == before + 2
        if n % 2:
            limiter.close()
        del limiter
        # The loop looks once more.
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        assert sockets() == before, (n, sockets(), before)

RUN(main())
"""
    scenario(code, tmp_path / "data", kind)


@each_loop
@pytest.mark.system
@pytest.mark.parametrize("way", ["sys.exit(7)", "raise SystemExit(7)", "loop.stop()"])
def test_pending_awaits_at_exit_are_durable_and_the_exit_status_stays(tmp_path: Path, kind: str, way: str) -> None:
    code = f"""
import warnings
limiter = flint.Limiter(data, sync="always")
limiter.limit("k", "100/day")
loop = NEW()
async def main():
    call = asyncio.ensure_future(limiter.acheck("k"))
    call._log_destroy_pending = False
    await asyncio.sleep(0)
    {way}
    await call
task = loop.create_task(main())
task._log_destroy_pending = False
try:
    loop.run_forever()
finally:
    if "stop" in {way!r}:
        sys.exit(7)
"""
    done = run(PRELUDE + code, tmp_path / "data", kind, wrapper=slow_disk())
    assert done.status == 7, done.err
    assert "flint" not in done.err, "asyncio may have something to say of its task, Flint has not"
    with flint.Limiter(tmp_path / "data") as limiter:
        status = limiter.status("k")
        assert status is not None
        assert status.total_allowed == 1


@each_loop
def test_a_failed_fsync_reaches_every_awaiter_and_every_later_call(tmp_path: Path, kind: str) -> None:
    code = """
import resource, signal
async def main():
    limiter = flint.Limiter(data, sync="always")
    limiter.limit("k", "100/day")
    for _ in range(7):
        assert (await limiter.acheck("k")).allowed
    calls = [asyncio.create_task(limiter.acheck("k")) for _ in range(20)]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, flint.StorageError), outcome
        assert outcome.errno == 5, outcome
    for call in (limiter.acheck("k"), limiter.aflush(), limiter.alimit("k", "1/s")):
        try:
            await call
        except flint.StorageError:
            continue
        raise AssertionError("it went on")
    try:
        limiter.close()
    except flint.StorageError:
        return
    raise AssertionError("close() said nothing")

RUN(main())
"""
    # strace counts per thread: opening takes fewer, so that this is the eighth of the thread that serves event loops.
    failing = "inject=fdatasync:error=EIO:when=8"
    wrapper = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", failing]
    scenario(code, tmp_path / "data", kind, wrapper=wrapper)


@each_loop
def test_a_forked_child_gets_an_error(tmp_path: Path, kind: str) -> None:
    code = """
limiter = flint.Limiter(data, sync="always")
limiter.limit("k", "100/day")
async def in_parent():
    await limiter.acheck("k")
RUN(in_parent())
async def in_child():
    for call in (limiter.acheck("k"), limiter.acheck_all(["k"]), limiter.aflush(), limiter.aacquire("k")):
        try:
            await call
        except flint.ForkedError:
            continue
        return 3
    return 0
pid = os.fork()
if pid == 0:
    os._exit(RUN(in_child()))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
RUN(in_parent())
assert limiter.status("k").total_allowed == 2
"""
    done = run(PRELUDE + code, tmp_path / "data", kind)
    assert done.status == 0, done.err


def test_ctrl_c_ends_a_wait_and_the_next_in_the_queue_goes_on(tmp_path: Path) -> None:
    code = """
import sys, threading
import flint
from flint.testing import ManualClock
clock = ManualClock()
limiter = flint.Limiter(sys.argv[1], sync="batch", clock=clock)
limiter.limit("k", "1/s")
limiter.check("k")
admitted = []
def behind():
    limiter.acquire("k")
    admitted.append("behind")
def waiting():
    return limiter._waiting("k")
pause = threading.Event()
def helper():
    while waiting() < 1: pause.wait(0.001)
    thread.start()
    while waiting() < 2: pause.wait(0.001)
    print("waiting", flush=True)
thread = threading.Thread(target=behind)
threading.Thread(target=helper).start()
try:
    limiter.acquire("k")
except KeyboardInterrupt:
    print("interrupted", flush=True)
clock.advance(1)
thread.join()
print(admitted, waiting(), flush=True)
"""
    import signal

    with worker(code, tmp_path / "data") as process:
        assert process.line() == "waiting"
        process.process.send_signal(signal.SIGINT)
        assert process.line() == "interrupted"
        assert process.line() == "['behind'] 0"
        assert process.end().status == 0


def test_waiting_for_a_limit_uses_no_time_of_the_processor(tmp_path: Path) -> None:
    """Ten threads and ten coroutines wait for a day that does not come: next to no time, and no turn of a loop.

    The threads are daemons, which still wait when the process ends: that writes nothing.
    """
    code = """
import asyncio, sys, threading, time
import flint
limiter = flint.Limiter(sys.argv[1], sync="batch")
limiter.limit("k", "1/day")
limiter.check("k")
for _ in range(10):
    threading.Thread(target=lambda: limiter.acquire("k"), daemon=True).start()
async def main():
    tasks = [asyncio.create_task(limiter.aacquire("k")) for _ in range(10)]
    while limiter._waiting("k") < 20:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    turns = 0
    select = loop._selector.select
    def counted(timeout):
        nonlocal turns
        turns += 1
        return select(timeout)
    loop._selector.select = counted
    before = time.process_time()
    await asyncio.sleep(0.5)
    assert turns <= 5, turns
    # A thread that polled would take all of it; one that looks for signals each second, nothing that counts.
    assert time.process_time() - before < 0.1
    for task in tasks: task.cancel()
asyncio.run(main())
"""
    assert run(code, tmp_path / "data").ok().err == ""
