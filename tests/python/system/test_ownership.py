"""Other users, links and special files: whose files are trusted, and the owner of what root makes."""

from __future__ import annotations

import pytest
from tests.python.system.owners import scenario

pytestmark = pytest.mark.system


def test_what_root_makes_belongs_to_the_owner_of_the_directory() -> None:
    scenario("""
own_directory(ALICE)
assert as_root() == 1
assert set(owners().values()) == {ALICE}, owners()
assert as_user(ALICE, used) == 2
# A store of the user, which root compacts.
with flint.Limiter(data) as limiter:
    for _ in range(200):
        limiter.check("a", limit="1000/day")
    limiter.compact()
names = owners()
assert set(names.values()) == {ALICE}, names
assert any(name.endswith(".snapshot") for name in names), names
assert as_user(ALICE, used) >= 3
assert {path.stat().st_mode & 0o777 for path in data.iterdir()} == {0o600}
""")


def test_a_lock_file_is_never_roots_under_its_name() -> None:
    """The file that root makes in a user's directory gets its name when it belongs to the user."""
    scenario("""
own_directory(ALICE)
(data / "flint-lock.tmp").write_text("left by a process that was killed")
limiter = flint.Limiter(data)
assert (data / "flint.lock").stat().st_uid == ALICE
assert not (data / "flint-lock.tmp").exists()
limiter.close()
""")


def test_a_directory_that_root_makes_in_a_users_directory_is_that_users() -> None:
    scenario("""
home = base / "home"
home.mkdir()
os.chown(home, ALICE, ALICE)
data = home / "app" / ".flint"
assert as_root() == 1
assert {path.stat().st_uid for path in (home / "app", data)} == {ALICE}
assert stat.S_IMODE(data.stat().st_mode) == 0o700
assert os.listdir(home) == ["app"]
assert as_user(ALICE, used) == 2
# Where others may write it cannot be known whose it would be: it stays root's.
open_home = base / "open"
open_home.mkdir()
os.chown(open_home, ALICE, ALICE)
open_home.chmod(0o777)
data = open_home / ".flint"
as_root()
assert data.stat().st_uid == 0
""")


def test_the_files_of_an_old_release_that_root_migrates_stay_the_users() -> None:
    scenario("""
own_directory(ALICE)
(data / "flint.aof").write_bytes(b"")
(data / "flint.aof").chmod(0o600)
os.chown(data / "flint.aof", ALICE, ALICE)
assert as_root() == 1
assert set(owners().values()) == {ALICE}, owners()
assert stat.S_IMODE((data / "legacy").stat().st_mode) == 0o700
assert set(owners(data / "legacy").values()) == {ALICE}
assert as_user(ALICE, used) == 2
""")


def test_a_directory_that_others_may_write_is_refused() -> None:
    scenario("""
for mode in (0o770, 0o702, 0o777, 0o1777, 0o2775):
    own_directory(ALICE, mode)
    for message in (as_user(ALICE, used), refused(used)):
        assert message.startswith("StorageError: "), message
        assert f"mode {mode:04o}" in message and f"`chmod go-w {data}`" in message, message
    assert os.listdir(data) == []
    report = flint._native.doctor(data)
    assert not report["ok"] and "chmod go-w" in report["problems"][0], report
    # A directory in it is its maker's alone.
    inner = data / "inner"
    data.chmod(0o1777)
    with flint.Limiter(inner) as limiter:
        assert stat.S_IMODE(inner.stat().st_mode) == 0o700
    shutil.rmtree(data)
# Readable by others is the business of the user.
own_directory(ALICE, 0o755)
assert as_user(ALICE, used) == 1
# It is looked at all the same when it was opened up since.
data.chmod(0o777)
with flint.Limiter(data, read_only=True) as limiter:
    assert limiter.status("a").total_allowed == 1
    assert not limiter.doctor()["ok"]
""")


def test_a_file_of_another_user_is_refused() -> None:
    scenario("""
own_directory(ALICE)
assert as_user(ALICE, used) == 1
for name in ("flint.lock", "flint-00000000000000000001.aof"):
    os.chown(data / name, MALLORY, MALLORY)
    before = (data / name).read_bytes()
    message = refused(used)
    assert f"it belongs to user {MALLORY}" in message and f"`chown {ALICE}`" in message, message
    assert (data / name).read_bytes() == before
    os.chown(data / name, ALICE, ALICE)
# One that root left there, in an earlier release, is accepted from root and explained to the user.
os.chown(data / "flint.lock", 0, 0)
message = as_user(ALICE, used)
assert "flint.lock" in message and "it belongs to user 0" in message and f"`chown {ALICE}`" in message, message
assert as_root() == 2
""")


def test_links_are_not_followed() -> None:
    scenario("""
victim = base / "victim"
for name in ("flint.lock", "flint-00000000000000000001.aof", "flint.aof"):
    own_directory(ALICE)
    for target in (victim, base / "nothing"):
        victim.write_text("precious")
        victim.chmod(0o600)
        os.chown(victim, ALICE, ALICE)
        (data / name).symlink_to(target)
        for message in (refused(used), as_user(ALICE, used)):
            assert "symbolic link" in message and name in message, message
        report = flint._native.doctor(data)
        assert "symbolic link" in report["problems"][0] and name in report["problems"][0], report
        assert victim.read_text() == "precious"
        assert not (base / "nothing").exists()
        (data / name).unlink()
    os.link(victim, data / name)
    message = refused(used)
    assert "2 names (hard links)" in message, message
    assert victim.read_text() == "precious"
    shutil.rmtree(data)
# Under temporary names nothing is followed or kept.
for name in ("flint-spare.tmp", "flint-snapshot.tmp"):
    own_directory(ALICE)
    (data / name).symlink_to(victim)
    assert as_user(ALICE, used) == 1
    with flint.Limiter(data) as limiter:
        limiter.compact()
    assert victim.read_text() == "precious"
    assert not (data / name).is_symlink()
    shutil.rmtree(data)
own_directory(ALICE)
(data / "flint.aof").write_bytes(b"")
(base / "elsewhere").mkdir()
(data / "legacy").symlink_to(base / "elsewhere")
assert "legacy" in refused(used)
assert os.listdir(base / "elsewhere") == []
""")


def test_special_files_are_refused_without_waiting() -> None:
    scenario("""
import socket
for name in ("flint.lock", "flint-00000000000000000001.aof", "flint-00000000000000000001.snapshot", "flint.aof"):
    own_directory(ALICE)
    os.mkfifo(data / name, 0o600)
    os.chown(data / name, ALICE, ALICE)
    for message in (refused(used), as_user(ALICE, used)):
        assert "it is a FIFO, not a regular file" in message, message
    report = flint._native.doctor(data)
    assert "FIFO" in report["problems"][0] and name in report["problems"][0], report
    shutil.rmtree(data)
own_directory(ALICE)
with socket.socket(socket.AF_UNIX) as bound:
    bound.bind(str(data / "flint.lock"))
    assert "not a regular file" in refused(used)
""")


def test_a_command_does_not_wait_for_a_fifo_in_place_of_the_lock_file() -> None:
    scenario("""
import subprocess
own_directory(0)
os.mkfifo(data / "flint.lock")
done = subprocess.run(
    [sys.executable, "-m", "flint", "--data-dir", str(data), "limit", "check", "a"],
    capture_output=True,
    text=True,
    timeout=30,
)
assert done.returncode == 3, done
assert "there is no store" in done.stderr, done
""")
