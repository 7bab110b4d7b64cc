"""Copies beside other people's files, and the owner of copies that root makes."""

from __future__ import annotations

import pytest
from tests.python.system.owners import scenario

pytestmark = pytest.mark.system

# What each of the scripts below begins with: a store of ALICE, a damaged one, and the three ways to copy a store.
COPIES = """
from flint import _native

def command(*arguments):
    import subprocess
    return subprocess.run(
        [sys.executable, "-m", "flint", "--data-dir", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )

def own(path, uid, mode=0o700):
    path.mkdir()
    os.chown(path, uid, uid)
    path.chmod(mode)
    return path

def owned_by(path, uid):
    found = {path.stat().st_uid, *(entry.stat().st_uid for entry in path.iterdir())}
    assert found == {uid}, (path, found)
    assert _native.doctor(path)["ok"], path

def opened(path):
    with flint.Limiter(path) as limiter:
        return limiter.status("a").total_allowed

def in_process(target):
    with flint.Limiter(data) as limiter:
        limiter.backup(target)

def by_backup(target):
    _native.backup(data, target)

def by_restore(target):
    done = command(target, "restore", data)
    if done.returncode:
        raise flint.FlintError(done.stderr)

def by_repair(target):
    done = command(damaged, "doctor", "--repair", "--output", target)
    # 1: the directory is damaged, and the copy was written.
    if not target.is_dir():
        raise flint.FlintError(done.stderr + done.stdout)

WAYS = (in_process, by_backup, by_restore, by_repair)

own_directory(ALICE)
assert as_user(ALICE, used) == 1
damaged = base / "damaged"
shutil.copytree(data, damaged)
for path in (damaged, *damaged.iterdir()):
    os.chown(path, ALICE, ALICE)
# The close record: what is before it verifies.
log = damaged / "flint-00000000000000000001.aof"
content = bytearray(log.read_bytes())
last = len(content.rstrip(bytes(1)))
content[last - 4] ^= 1
content[100] ^= 1
log.write_bytes(content)
assert not _native.doctor(damaged)["ok"]
"""


def copies(code: str) -> None:
    scenario(COPIES + code)


def test_other_peoples_files_under_the_temporary_name_stay() -> None:
    copies("""
def thesis(place):
    (own(place, 0) / "thesis.txt").write_text("years")

def chapter(place):
    (own(place, 0) / "chapter").mkdir()

def linked_log(place):
    (base / "log").write_text("theirs")
    (own(place, 0) / "flint-00000000000000000001.aof").symlink_to(base / "log")

def store(place):
    with flint.Limiter(place) as limiter:
        limiter.limit("theirs", "5/day")

def file(place):
    place.write_text("theirs")

def contents(path):
    return sorted((str(found), found.is_symlink(), found.is_dir() or found.read_bytes()) for found in path.rglob("*"))

for way in WAYS:
    for make in (thesis, chapter, linked_log, store, file):
        parent = own(base / "parent", 0)
        make(parent / ".bk.partial")
        before = contents(parent)
        message = refused(lambda: way(parent / "bk"))
        assert contents(parent) == before, (way, make)
        assert str(parent / ".bk.partial") in message and "move it away" in message, message
        shutil.rmtree(parent)
        if (base / "log").exists():
            assert (base / "log").read_text() == "theirs"
""")


def test_what_another_user_has_put_under_the_temporary_name_is_refused() -> None:
    copies("""
segment = "flint-00000000000000000001.aof"

def link(place):
    victim = own(base / "victim", 0)
    (victim / segment).write_text("precious")
    place.symlink_to(victim)
    os.lchown(place, MALLORY, MALLORY)

def directory(place):
    own(place, MALLORY)

def their_files(place):
    (own(place, MALLORY) / segment).write_text("theirs")

def open_to_all(place):
    own(place, 0, 0o777)

for way in WAYS:
    for make in (link, directory, their_files, open_to_all):
        for mode in (0o777, 0o1777):
            parent = own(base / "parent", 0, mode)
            make(parent / ".bk.partial")
            message = refused(lambda: way(parent / "bk"))
            assert ".bk.partial" in message and "move it away" in message, message
            assert os.listdir(parent) == [".bk.partial"], (way, make)
            if make is link:
                assert (base / "victim" / segment).read_text() == "precious"
                shutil.rmtree(base / "victim")
            if make is their_files:
                assert (parent / ".bk.partial" / segment).read_text() == "theirs"
            shutil.rmtree(parent)
""")


def test_what_a_killed_copy_of_this_user_left_is_used_again() -> None:
    copies("""
for way in WAYS:
    for owner in (ALICE, 0):
        parent = own(base / "parent", 0, 0o777)
        left = own(parent / ".bk.partial", owner)
        if owner == ALICE:
            for name in ("flint.lock", "flint-00000000000000000001.aof", "flint-00000000000000000009.snapshot"):
                (left / name).write_text("")
                os.chown(left / name, owner, owner)
        way(parent / "bk")
        assert os.listdir(parent) == ["bk"]
        owned_by(parent / "bk", ALICE)
        shutil.rmtree(parent)
""")


def test_a_copy_keeps_the_owner_group_and_mode_of_the_empty_directory_it_replaces() -> None:
    copies("""
for way in WAYS:
    for mode, kept in ((0o700, 0o700), (0o750, 0o750), (0o2755, 0o2755), (0o775, 0o755)):
        target = own(base / "service", MALLORY, mode)
        os.chown(target, MALLORY, ALICE)
        target.chmod(mode)
        way(target)
        found = target.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (MALLORY, ALICE, kept), (way, found)
        owned_by(target, MALLORY)
        assert as_user(MALLORY, lambda: opened(target)) == 1
        shutil.rmtree(target)
""")


def test_a_copy_that_root_makes_belongs_to_the_owner_of_the_store() -> None:
    copies("""
PLACES = ((0, 0o755, ALICE), (0, 0o1777, ALICE), (MALLORY, 0o755, MALLORY), (MALLORY, 0o777, ALICE))
for way in WAYS:
    for parent_owner, mode, owner in PLACES:
        parent = own(base / "parent", parent_owner, mode)
        way(parent / "bk")
        owned_by(parent / "bk", owner)
        assert stat.S_IMODE((parent / "bk").stat().st_mode) == 0o700
        assert as_user(owner, lambda: opened(parent / "bk")) == 1
        shutil.rmtree(parent)
# A backup that root made of a root's store stays root's.
shutil.rmtree(data)
own_directory(0)
as_root()
by_backup(base / "bk")
owned_by(base / "bk", 0)
""")


def test_the_empty_directory_of_another_user_is_not_taken_away() -> None:
    copies("""
home = own(base / "home", ALICE)
service = own(home / "service", MALLORY, 0o755)
message = as_user(ALICE, lambda: by_backup(service))
assert message.startswith("StorageError: ") and f"user {MALLORY}" in message, message
assert os.listdir(home) == ["service"] and service.stat().st_uid == MALLORY
""")


def test_a_copy_belongs_to_its_owner_before_it_has_its_name() -> None:
    """Another user's process that opens the directory as soon as it is there never fails for lack of permission."""
    copies("""
target = base / "service"
parent = str(base)

def wait_for_it():
    while True:
        try:
            return os.stat(target).st_uid, sorted({os.lstat(target / name).st_uid for name in os.listdir(target)})
        except FileNotFoundError:
            continue

for _ in range(5):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, json.dumps(wait_for_it()).encode())
        os._exit(0)
    os.close(writing)
    by_backup(target)
    with open(reading) as file:
        assert json.load(file) == [ALICE, [ALICE]]
    os.waitpid(pid, 0)
    shutil.rmtree(target)
""")
