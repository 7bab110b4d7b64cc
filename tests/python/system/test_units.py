"""What systemd itself says to the units."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

CONTRIB = Path(__file__).parents[3] / "contrib"
TIMEOUT_S = 60


def verify(directory: Path, extra: str = "") -> tuple[int, str]:
    """What is wrong with the units, installed where the command is."""
    service = (CONTRIB / "flint.service").read_text(encoding="utf-8")
    assert "/opt/flint/bin/flint " in service
    service = service.replace("/opt/flint/bin/flint ", f"{Path(sys.executable).parent / 'flint'} ")
    (directory / "flint.service").write_text(service + extra, encoding="utf-8")
    shutil.copy(CONTRIB / "flint.socket", directory)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(directory / "flint.service"), str(directory / "flint.socket")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    return done.returncode, done.stdout + done.stderr


# Of systemd's own measure, from 0 to 100: what it calls "OK" ends at 20, and a service without any protection has 96.
EXPOSED = 20


def exposure(service: str, directory: Path) -> tuple[int, str]:
    """Whether systemd finds the service more exposed than that, and why."""
    (directory / "flint.service").write_text(service, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSED}", directory / "flint.service"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_service_is_hardened(tmp_path: Path) -> None:
    service = (CONTRIB / "flint.service").read_text(encoding="utf-8")
    status, said = exposure(service, tmp_path)
    assert status == 0, said
    bare = [line for line in service.splitlines() if not line.startswith(("Protect", "Restrict", "SystemCall"))]
    status, said = exposure("\n".join(bare), tmp_path)
    assert status != 0, said


def test_the_units_are_understood(tmp_path: Path) -> None:
    assert verify(tmp_path) == (0, "")


def test_a_mistake_would_be_noticed(tmp_path: Path) -> None:
    _, said = verify(tmp_path, "\n[Service]\nProtectSistem=strict\n")
    assert "ProtectSistem" in said
