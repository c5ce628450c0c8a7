import os
import time
from types import SimpleNamespace

import pytest
from lc2fer.benchmarks.measuring import conditions
from lc2fer.benchmarks.measuring.conditions import Conditions, Meter, Neighbours, idle_watts, observe, pinned

from lc2fer import spokes


@pytest.fixture
def system(tmp_path, monkeypatch):
    """The folder of a made-up system, empty."""
    for name in ("_CPUS", "_HWMON", "_POWERCAP"):
        monkeypatch.setattr(conditions, name, tmp_path / name)
    monkeypatch.setattr(conditions, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(conditions, "load_average", lambda: 0.5)
    monkeypatch.setattr(spokes, "board", lambda: None)
    monkeypatch.setattr(spokes, "watts", lambda: None)
    return tmp_path


def _put(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_clock_and_throttling_are_read(system):
    for core, kilohertz in ((0, 1_000_000), (1, 3_000_000)):
        _put(system, f"_CPUS/cpu{core}/cpufreq/scaling_cur_freq", kilohertz)
        _put(system, f"_CPUS/cpu{core}/thermal_throttle/core_throttle_count", 2)
    _put(system, "_HWMON/hwmon3/oc1_event_cnt", 5)
    assert observe([0, 1]) == Conditions(0.5, 2000.0, 9)
    assert observe([1]).clock_mhz == 3000.0


def test_the_clock_may_stand_in_cpuinfo(system):
    _put(system, "cpuinfo", "processor : 0\ncpu MHz\t\t: 2400.5\n\nprocessor : 1\ncpu MHz\t\t: 2600.5")
    assert observe([0, 1]) == Conditions(0.5, 2500.5, None)


def test_a_system_that_tells_nothing(system):
    assert observe([0]) == Conditions(0.5, None, None)
    meter = Meter()
    assert (meter.source, meter.joules()) == (None, None)
    assert Conditions.from_json(observe([0]).to_json()) == observe([0])


def test_threads_get_whole_cores_and_leave_the_first(system, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    for core in range(4):
        _put(system, f"_CPUS/cpu{core}/topology/thread_siblings_list", "0,2" if core % 2 == 0 else "1,3")
    assert pinned(1) == (3,)
    assert pinned(2) == (2, 3)
    assert pinned(3) == (1, 2, 3)
    assert pinned(9) == (0, 1, 2, 3)


def test_energy_by_counters_that_wrap(system):
    for zone, energy in (("intel-rapl:0", 900_000), ("intel-rapl:0:0", 1), ("intel-rapl:1", 100_000)):
        _put(system, f"_POWERCAP/{zone}/energy_uj", energy)
        _put(system, f"_POWERCAP/{zone}/max_energy_range_uj", 999_999)
    meter = Meter()
    _put(system, "_POWERCAP/intel-rapl:0/energy_uj", 400_000)
    _put(system, "_POWERCAP/intel-rapl:1/energy_uj", 600_000)
    assert meter.source == "rapl"
    assert meter.joules() == pytest.approx(1.0)


def test_energy_of_a_jetsons_rails(system, monkeypatch):
    now, watts = [0.0], [5.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(spokes, "watts", lambda: watts[0])
    meter = Meter()
    now[0], watts[0] = 1.0, 15.0
    meter.sample()
    now[0] = 2.0
    assert meter.source == "ina3221"
    assert meter.joules() == pytest.approx(10.0 + 15.0)  # 5 W rising to 15 W, then 15 W


def test_what_a_board_takes_when_idle(system, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    assert idle_watts() is None
    assert now == [0.0]
    monkeypatch.setattr(spokes, "watts", lambda: 4.0 + now[0])  # rising evenly
    assert idle_watts() == pytest.approx(4.25, abs=0.03)
    assert now[0] == pytest.approx(0.5, abs=0.06)


def test_a_jetson_tells_its_gpu_and_its_heat(system, monkeypatch):
    orin = SimpleNamespace(gpu_mhz=(612, 1020), temperatures={"cpu": 48.2, "gpu": 51.5})
    monkeypatch.setattr(spokes, "board", lambda: orin)
    assert observe([0]) == Conditions(0.5, None, None, 612.0, 51.5)
    monkeypatch.setattr(spokes, "board", lambda: SimpleNamespace(gpu_mhz=None, temperatures={}))
    assert observe([0]) == Conditions(0.5, None, None)


def test_neighbours_are_all_but_the_process():
    neighbours = Neighbours(os.getpid())
    begin = time.process_time()
    while time.process_time() - begin < 0.15:
        pass
    found = neighbours.mean()
    assert found is None or 0 <= found <= (os.cpu_count() or 1) + 0.5
