"""Cores: what control groups allow, what neighbors take, and on how many devices it pays to run."""

import itertools
import math
import os

import pytest

from purerl.compile import cores
from purerl.compile.cores import Sample, busy_between, busy_ticks, quota, taken, worthwhile


def machine(root, groups, files):
    """A file system with what /proc/self/cgroup says, and files of control groups by their path."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


V1 = "12:memory:/docker/abc\n5:cpu,cpuacct:/docker/abc\n4:cpuset:/docker/abc\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("", {}, None),
        # The tightest of a group and of those above it: 4 cores, 2, and any number of them.
        (
            "0::/user.slice/job/step\n",
            {
                "sys/fs/cgroup/user.slice/job/step/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/user.slice/job/cpu.max": "100000 50000\n",
                "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
            },
            2.0,
        ),
        # A container sees its group as the root, though /proc may still name the path outside of it.
        ("0::/../../elsewhere\n", {"sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        (
            V1,
            {
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            V1,
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (V1, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, None),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "nonsense"}, None),
    ],
)
def test_the_quota_is_the_least_of_all_groups_around_this_process(tmp_path, groups, files, expected):
    assert quota(machine(tmp_path, groups, files)) == expected


@pytest.mark.parametrize(("allowed", "expected"), [(0.5, 1), (1.5, 1), (2.0, 2), (2.9, 2), (64.0, 4)])
def test_cores_are_those_that_are_visible_or_fewer_by_quota(tmp_path, monkeypatch, allowed, expected):
    monkeypatch.setattr(cores, "_visible", lambda: {0, 1, 2, 3})
    files = {"sys/fs/cgroup/cpu.max": f"{int(allowed * 100000)} 100000\n"}
    assert cores.count(machine(tmp_path, "0::/\n", files)) == expected
    assert cores.count(tmp_path / "nothing") == 4


STAT = """cpu  1000 1000 1000 9999 0 0 0 0 0 0
cpu0 100 20 30 5000 7 4 3 2 50 0
cpu1 1 1 1 9000 0 1 1 1 0 0
cpu10 500 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""


def test_work_is_counted_on_the_cores_that_are_ours_without_waiting_and_without_lower_priority():
    # user + system + interrupts + soft interrupts + stolen: 100 + 30 + 4 + 3 + 2, and on the second 1 + 1 + 3
    assert busy_ticks(STAT, {0}, with_nice=False) == 139
    assert busy_ticks(STAT, {0}, with_nice=True) == 159
    assert busy_ticks(STAT, {0, 1}, with_nice=False) == 139 + 5
    assert busy_ticks("", {0}, with_nice=False) == 0


def test_what_others_do_is_all_work_less_our_own():
    # In two seconds two cores have worked for 3.5 seconds, 1.5 of which were ours: one core by others.
    assert busy_between(Sample(10.0, 100.0, 5.0), Sample(12.0, 103.5, 6.5)) == 1.0
    assert busy_between(Sample(10.0, 100.0, 5.0), Sample(12.0, 101.0, 6.5)) == 0.0


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="not Linux")
def test_what_we_compute_is_seen_on_the_cores_and_is_ours():
    before = cores.sample()
    while cores.sample().own - before.own < 0.3:
        math.factorial(500)
    after = cores.sample()
    assert after.busy - before.busy >= 0.2  # counted in hundredths of a second
    assert busy_between(before, after) <= cores.visible_count()


def test_neighbors_take_only_what_is_not_idle():
    assert taken(0.0, visible=2, cores=2) == 0
    assert taken(0.4, visible=2, cores=2) == 0
    assert taken(1.0, visible=2, cores=2) == 1
    # A quota of 4 of 64 cores, of which 50 are busy: 14 are left. With 62 busy, two of the four are missing.
    assert taken(50.0, visible=64, cores=4) == 0
    assert taken(62.0, visible=64, cores=4) == 2


@pytest.mark.parametrize(
    ("num_parts", "there_are", "num_cores", "busy", "expected"),
    [
        (2, 2, 2, 0, 2),
        (2, 2, 2, 1, 2),  # two make 1.68 * 2 / 3 = 1.12 of what one makes, which has a core of its own
        (2, 2, 2, 2, 2),  # 1.68 * 2 / 4 = 0.84 against 2 / 3
        (4, 4, 4, 1, 4),  # 4: 2.83 * 4 / 5 = 2.26; 2: 1.68
        (6, 4, 4, 1, 3),  # four do not divide six parts; 3: 2.28; 2: 1.68
        (16, 16, 16, 1, 16),  # 16: 8 * 16 / 17 = 7.5; 8: 4.76
        (16, 16, 16, 8, 16),  # 16: 8 * 16 / 24 = 5.3
        (1, 2, 2, 1, 1),
        (3, 2, 2, 0, 1),
    ],
)
def test_as_many_devices_are_used_as_pay(num_parts, there_are, num_cores, busy, expected):
    assert worthwhile(num_parts, there_are, num_cores, busy) == expected


def simulated(devices, busy, num_cores, gain, steps=3):
    """Rate of devices that wait for each other after every step, by a fair scheduler: whoever had least runs.

    A step takes each device a hundred ticks of a core; with gain g, D devices need D^(1 - g) times as many.
    """
    needed = 100 * devices ** (1 - gain)
    had, ticks = [0.0] * (devices + busy), 0
    for _ in range(steps):
        left = [needed] * devices
        while max(left) > 0:
            ready = [thread for thread in range(devices + busy) if thread >= devices or left[thread] > 0]
            for thread in sorted(ready, key=had.__getitem__)[:num_cores]:
                had[thread] += 1
                if thread < devices:
                    left[thread] -= 1
            ticks += 1
    return devices * steps / ticks


@pytest.mark.parametrize("num_cores", [2, 4, 16])
@pytest.mark.parametrize("gain", [0.585, 0.766])  # the second device gains 1.5, 1.7
def test_the_choice_never_makes_less_than_one_device_would(num_cores, gain):
    for busy, num_parts in itertools.product(range(2 * num_cores + 1), (1, 2, num_cores)):
        chosen = worthwhile(num_parts, num_cores, num_cores, busy)
        assert num_parts % chosen == 0
        one = simulated(1, busy, num_cores, gain)
        assert simulated(chosen, busy, num_cores, gain) >= 0.98 * one, (busy, num_parts, chosen)
        if busy == 0:
            assert chosen == min(num_parts, num_cores)
