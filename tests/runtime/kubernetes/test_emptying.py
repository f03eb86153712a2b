"""How room is made in a volume of packages that is full: by the real program, on a real small file system."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmbcluster.runtime.kubernetes import emptying, install
from tests.runtime.kubernetes.installing import Pod
from tests.runtime.kubernetes.test_install import slow_uv

MIB = 1024**2
VOLUME_BYTES = 48 * MIB
HOUR_SECONDS = 3600


class SmallVolume(Pod):
    """A pod whose volume is full after a few builds, and packages of a size to fill it with."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.wheels = root / "wheels"
        self.wheels.mkdir()
        self.looked_at = time.time()

    def wants(self, name: str, size_bytes: int) -> None:
        """Send a lock of one package of that size."""
        file = self.wheels / f"{name}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(file, "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "")
            wheel.writestr(f"{name}/data.bin", os.urandom(size_bytes))
            info = f"{name}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", f"{name}/__init__.py,,\n{name}/data.bin,,\n{info}/RECORD,,\n")
        self.send(f"{name}==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n")

    def installs(self, key: str, needed: str = "*", path: str = "", name: str = "told") -> subprocess.Popen[str]:
        return self.begin(key, path=path, name=name, UV_FIND_LINKS=str(self.wheels), UV_OFFLINE="1", CMB_NEEDED=needed)

    def has(self, key: str, size_bytes: int, unused_hours: float) -> None:
        """A build that was used for the last time so many hours ago."""
        self.wants(f"pkg_{key}", size_bytes)
        assert self.installs(key).wait(60) == 0, self.said()
        self.was_used(key, self.looked_at - unused_hours * HOUR_SECONDS)

    def was_used(self, key: str, at: float) -> None:
        os.utime(self.volume / "locks" / key, (at, at))

    def needed(self, **seconds: int) -> str:
        """What the platform says: these builds were needed so many seconds ago, and it knows of no others."""
        return " ".join([str(self.looked_at), *(f"{key}:{since}" for key, since in seconds.items())])

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.volume).free


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[SmallVolume]:
    """A pod with a small file system as its volume."""
    made = SmallVolume(tmp_path)
    command = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES}", "tmpfs", str(made.volume)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root mounts a file system of a few megabytes")
    yield made
    subprocess.run(["umount", "--lazy", str(made.volume)], check=True)


@pytest.mark.parametrize(("size_bytes", "removed"), [(12 * MIB, {"d"}), (22 * MIB, {"d", "b"})])
def test_what_was_unused_for_longest_goes_first_and_only_as_much_as_is_needed(
    pod: SmallVolume, size_bytes: int, removed: set[str]
) -> None:
    for key, hours in (("a", 2), ("b", 5), ("c", 9), ("d", 7)):
        pod.has(key, 10 * MIB, hours)
    pod.wants("big", size_bytes)
    assert pod.installs("new", pod.needed(c=0)).wait(60) == 0, pod.said()
    # The one unused for longest by what the volume says is in use.
    assert pod.builds() == {"a", "b", "c", "d", "new"} - removed
    assert f'"removed": {len(removed)}' in (pod.root / "told").read_text()
    assert "No space left" not in pod.said()
    assert list((pod.volume / "half").iterdir()) == []


@pytest.mark.parametrize("told", ["*", "", "no list", "all", "used"])
def test_what_is_needed_stays_and_a_launch_without_room_says_so(pod: SmallVolume, told: str) -> None:
    keys = ("a", "b", "c", "d")
    for key in keys:
        pod.has(key, 10 * MIB, 5)
    if told == "used":
        # Pods found them there after the platform had looked, and it knows nothing of these pods.
        assert [pod.installs(key).wait(60) for key in keys] == [0] * 4
    needed = {"all": pod.needed(a=0, b=0, c=0, d=0), "used": pod.needed()}.get(told, told)
    pod.wants("big", 12 * MIB)
    assert pod.installs("new", needed).wait(60) == install.NO_SPACE
    assert pod.builds() == set(keys)
    assert "No space left on device" in pod.said()
    assert list((pod.volume / "half").iterdir()) == []
    for key in keys:
        program = pod.volume / "builds" / key / "bin" / "python"
        assert subprocess.run([program, "-c", f"import pkg_{key}"], check=False).returncode == 0


def test_what_was_downloaded_goes_last(pod: SmallVolume) -> None:
    pod.has("a", 10 * MIB, 5)
    pod.has("b", 10 * MIB, 5)
    # Of a build that is not there any more.
    shutil.copytree(pod.volume / "cache" / "archive-v0", pod.volume / "cache" / "archive-v0" / "left")
    pod.wants("big", 12 * MIB)
    assert pod.installs("new", pod.needed(a=0, b=0)).wait(60) == 0, pod.said()
    assert pod.builds() == {"a", "b", "new"}
    assert not (pod.volume / "cache" / "archive-v0" / "left").exists()


def test_a_volume_that_is_all_but_full_is_made_roomy_before_it_begins(pod: SmallVolume) -> None:
    for key in ("a", "b", "c"):
        pod.has(key, 8 * MIB, 5)
    (pod.volume / "filling").write_bytes(b"x" * (pod.free_bytes() - MIB))
    pod.wants("small", 1000)
    assert pod.installs("new", pod.needed(c=0)).wait(60) == 0, pod.said()
    assert pod.builds() == {"c", "new"}
    assert pod.free_bytes() > emptying.ROOMY_SHARE * VOLUME_BYTES
    assert "it is tried again" not in pod.said()


def test_use_is_written_down_for_installations_to_come(pod: SmallVolume) -> None:
    for key in ("a", "b", "c"):
        pod.has(key, 1000, 100)
    pod.wants("small", 1000)
    assert pod.installs("new", pod.needed(a=0, b=7200)).wait(60) == 0
    used_at = {key: (pod.volume / "locks" / key).stat().st_mtime for key in ("a", "b", "c", "new")}
    since = {key: round((pod.looked_at - at) / HOUR_SECONDS) for key, at in used_at.items()}
    assert since == {"a": 0, "b": 2, "c": 100, "new": 0}


@pytest.mark.parametrize("link", ["of a build", "builds", "half", "cache", "archive"])
def test_links_lead_to_nothing_that_is_removed(pod: SmallVolume, link: str) -> None:
    outside = pod.root / "outside"
    (outside / "old" / "bin").mkdir(parents=True)
    (outside / "old" / "data").write_bytes(b"x" * 1000)
    for path in (outside / "old" / "data", outside / "old"):
        os.utime(path, (1, 1))
    for key in ("a", "b", "c", "d"):
        pod.has(key, 10 * MIB, 5)
    if link == "of a build":
        (pod.volume / "builds" / "old").symlink_to(outside / "old")
        os.utime(pod.volume / "builds" / "old", (1, 1), follow_symlinks=False)
    elif link == "archive":
        (pod.volume / "cache" / "archive-v9").symlink_to(outside)
    else:
        shutil.rmtree(pod.volume / link, ignore_errors=True)
        (pod.volume / link).symlink_to(outside)
    pod.wants("big", 12 * MIB)
    pod.installs("new", pod.needed()).wait(60)
    assert (outside / "old" / "data").exists()
    assert (pod.volume / "builds" / "old").is_symlink() is (link == "of a build")


def test_one_that_builds_is_not_disturbed_by_one_that_makes_room(pod: SmallVolume) -> None:
    for key in ("a", "b", "c"):
        pod.has(key, 10 * MIB, 5)
    pod.wants("slow", 1000)
    folder, log = slow_uv(pod, 3)
    slow = pod.installs("slow", pod.needed(), path=folder, name="slow")
    give_up_at = time.monotonic() + 30
    while not (log.exists() and "pip install" in log.read_text()):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    pod.wants("big", 20 * MIB)
    big = pod.installs("new", pod.needed())
    assert (slow.wait(60), big.wait(60)) == (0, 0), pod.said() + pod.said("slow")
    assert pod.builds() >= {"slow", "new"}
    assert len(pod.builds()) < 5
    assert list((pod.volume / "half").iterdir()) == []


def test_two_that_make_room_at_once_both_come_to_their_end(pod: SmallVolume) -> None:
    for key, hours in (("a", 9), ("b", 8), ("c", 2), ("d", 1)):
        pod.has(key, 10 * MIB, hours)
    both = []
    for name in ("one", "two"):
        pod.wants(name, 12 * MIB)
        both.append(pod.installs(name, pod.needed(d=0), name=name))
        time.sleep(0.2)
    codes = [each.wait(60) for each in both]
    assert codes == [0, 0], pod.said("one") + pod.said("two")
    assert {"d", "one", "two"} <= pod.builds() <= {"c", "d", "one", "two"}
    for name in ("one", "two"):
        program = pod.volume / "builds" / name / "bin" / "python"
        assert subprocess.run([program, "-c", f"import {name}"], check=False).returncode == 0


def test_a_build_that_was_removed_is_made_again(pod: SmallVolume) -> None:
    for key in ("a", "b", "c", "d"):
        pod.has(key, 10 * MIB, 5)
    wanted = (pod.root / "cmb" / "lock.txt.gz").read_bytes()
    pod.was_used("d", 1)
    pod.wants("big", 9 * MIB)
    assert pod.installs("new", pod.needed(a=0, b=0, c=0)).wait(60) == 0, pod.said()
    assert "d" not in pod.builds()
    # Its files are fetched again: the download cache let go of them too.
    (pod.root / "cmb" / "lock.txt.gz").write_bytes(wanted)
    pod.was_used("new", 1)
    assert pod.installs("d", pod.needed(a=0, b=0, c=0)).wait(60) == 0, pod.said()
    assert pod.builds() == {"a", "b", "c", "d"}
    program = pod.volume / "builds" / "d" / "bin" / "python"
    assert subprocess.run([program, "-c", "import pkg_d"], check=False).returncode == 0
