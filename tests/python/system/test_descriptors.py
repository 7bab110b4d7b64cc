"""What a limiter holds of the system: nothing after close(), and no call consumes and then lacks a descriptor."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from tests.python.system.support import run

PRELUDE = """
import asyncio, contextlib, gc, os, resource, sys, threading
import flint
data = sys.argv[1]
gc.disable()

def held():
    names = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
    with open("/proc/self/maps") as maps:
        names += [line.split()[-1] for line in maps if data in line]
    return sorted(name for name in names if data in name or name.startswith("socket:"))

@contextlib.contextmanager
def no_descriptor_left():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    try:
        yield
    finally:
        for fd in taken:
            os.close(fd)

def filled(limiter):
    limiter.limit("a", "1000000/day")
    for _ in range(100):
        limiter.check("a")
"""

each_loop = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def scenario(code: str, data_dir: Path, *arguments: str) -> str:
    return run(PRELUDE + textwrap.dedent(code), data_dir, *arguments, flags=("-X", "dev", "-W", "error")).ok().out


def test_nothing_is_open_after_close(tmp_path: Path) -> None:
    code = """
    closed = []
    for number in range(50):
        for options in ({"sync": "always"}, {"sync": "batch"}, {"read_only": True}):
            limiter = flint.Limiter(f"{data}/{number}", **options)
            if not options.get("read_only"):
                filled(limiter)
            assert held(), options
            limiter.close()
            closed.append(limiter)
            assert held() == [], (options, held())
    limiter = flint.Limiter(f"{data}/0")
    # A segment that is full, its successor and the spare; a snapshot.
    for _ in range(3):
        limiter.limit_many([{"key": f"{number:0500}", "rate": "5/second"} for number in range(10000)])
    limiter.compact()
    limiter.close()
    assert held() == [], held()
    assert limiter.closed and limiter.data_dir == f"{data}/0" and "closed" in repr(limiter)
    calls = lambda: limiter.check("a"), lambda: limiter.history("a"), limiter.doctor, limiter.compact, limiter.flush
    for call in calls:
        try:
            call()
        except flint.ClosedError:
            continue
        raise AssertionError("it is closed")
    print(len(closed))
    """
    assert scenario(code, tmp_path) == "150\n"


@each_loop
def test_nothing_is_open_after_close_in_an_event_loop(loop: str, tmp_path: Path) -> None:
    code = """
    if sys.argv[2] == "uvloop":
        import uvloop
        new_loop = uvloop.new_event_loop
    else:
        new_loop = asyncio.new_event_loop

    def flint_sockets(before):
        return [name for name in held() if name not in before]

    async def use(limiter):
        limiter.limit("a", "1000000/day")
        await asyncio.gather(*(limiter.acheck("a") for _ in range(20)))

    # Closed in the loop that used it, without another turn of the loop.
    async def closed_inside():
        before = held()
        limiter = flint.Limiter(data)
        await use(limiter)
        assert len(flint_sockets(before)) > 2, held()
        limiter.close()
        assert flint_sockets(before) == [], held()

    loop = new_loop()
    loop.run_until_complete(closed_inside())

    # Closed when the loop does not run, and when it was closed.
    for ended in (False, True):
        own = new_loop()
        before = held()
        limiter = flint.Limiter(data)
        own.run_until_complete(use(limiter))
        if ended:
            own.close()
        limiter.close()
        assert [name for name in held() if data in name] == [], held()
        assert len(held()) <= len(before), (before, held())
        own.close()

    # Closed in another thread than the loop's: as soon as the loop gets to it.
    async def closed_elsewhere():
        before = held()
        limiter = flint.Limiter(data)
        await use(limiter)
        await asyncio.get_running_loop().run_in_executor(None, limiter.close)
        for _ in range(1000):
            if flint_sockets(before) == []:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(held())

    loop.run_until_complete(closed_elsewhere())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    """
    scenario(code, tmp_path, loop)


@each_loop
def test_no_call_consumes_without_a_descriptor_for_its_answer(loop: str, tmp_path: Path) -> None:
    code = """
    if sys.argv[2] == "uvloop":
        import uvloop
        run = uvloop.run
    else:
        run = asyncio.run

    async def main():
        limiter = flint.Limiter(data)
        limiter.limit("a", "10/day", algorithm="fixed_window_counter")
        limiter.limit("b", "10/day", algorithm="fixed_window_counter")
        calls = {
            "acheck": lambda: limiter.acheck("a"),
            "aallow": lambda: limiter.aallow("a"),
            "acheck_all": lambda: limiter.acheck_all(["a", "b"]),
            "aacquire": lambda: limiter.aacquire("a"),
            "areset": lambda: limiter.areset("b"),
            "alimit": lambda: limiter.alimit("c", "1/day"),
        }
        with no_descriptor_left():
            for name, call in calls.items():
                try:
                    await call()
                except flint.StorageError as error:
                    assert error.errno == 24, error
                    assert "nothing was decided" in str(error)
                    continue
                raise AssertionError(f"{name} had a descriptor")
            status = limiter.status("a")
            assert (status.total_allowed, status.remaining) == (0, 10), status
            assert limiter.status("c") is None
            # A blocking call needs none.
            assert limiter.check("a").remaining == 9
        for name, call in calls.items():
            await call()
        status = limiter.status("a")
        assert (status.total_allowed, status.remaining) == (5, 5), status
        # A loop that has what it needs goes on without more.
        with no_descriptor_left():
            assert (await limiter.acheck("a")).remaining == 4
        with no_descriptor_left():
            limiter.close()
        assert [name for name in held() if data in name] == []

    run(main())
    """
    scenario(code, tmp_path, loop)


@each_loop
def test_a_call_that_needs_a_thread_does_nothing_without_a_descriptor_to_start_one(loop: str, tmp_path: Path) -> None:
    code = """
    if sys.argv[2] == "uvloop":
        import uvloop
        run = uvloop.run
    else:
        run = asyncio.run

    async def main(sync):
        async with flint.Limiter(f"{data}/{sync}", sync=sync) as limiter:
            limiter.limit("a", "10/day")
            calls = {
                "abackup": lambda: limiter.abackup(f"{data}/copy"),
                "ahistory": lambda: limiter.ahistory("a"),
                "acompact": limiter.acompact,
                "adoctor": limiter.adoctor,
            }
            few_keys = {"alist": limiter.alist, "atop": limiter.atop}
            if sync == "always":
                calls.update(few_keys)
            with no_descriptor_left():
                for name, call in calls.items():
                    try:
                        await call()
                    except flint.StorageError as error:
                        assert error.errno == 24, error
                        continue
                    print(f"{name} had a descriptor")
                # These need none.
                if sync == "batch":
                    for call in few_keys.values():
                        await call()
                assert (await limiter.apeek("a")).remaining == 9
                assert (await limiter.astatus("a")).remaining == 10
                try:
                    limiter.rate_limit("a")
                except flint.StorageError as error:
                    assert error.errno == 24, error
            assert not os.path.exists(f"{data}/copy")
            limiter.rate_limit("a")
            for call in calls.values():
                await call()
            assert os.path.isdir(f"{data}/copy")

    run(main("always"))
    os.rename(f"{data}/copy", f"{data}/first")
    run(main("batch"))
    """
    assert scenario(code, tmp_path, loop) == ""


@each_loop
def test_the_end_of_async_with_closes_without_a_descriptor(loop: str, tmp_path: Path) -> None:
    code = """
    if sys.argv[2] == "uvloop":
        import uvloop
        run = uvloop.run
    else:
        run = asyncio.run

    async def main():
        limiter = flint.Limiter(f"{data}/a")
        limiter.check("a", limit="10/day")
        with no_descriptor_left():
            async with limiter:
                pass
        assert limiter.closed
        assert [name for name in held() if data in name] == []

    run(main())
    """
    scenario(code, tmp_path, loop)
