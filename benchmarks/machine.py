"""What a figure means nothing without: the machine and the software it was measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.server import Server


def facts(server: Server, command: str) -> dict[str, str]:
    """Name -> value, in the order of the report."""
    load = os.getloadavg()
    persistence = "AOF everysec" if server.append_only else "persistence off"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{_distribution()}, {platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "server": f"{server.version} on loopback TCP, {persistence}",
        "one round trip (PING, redis-py)": f"{server.round_trip_us():.0f} us",
        "load average at the start": f"{load[0]:.2f} (1 min), {load[1]:.2f} (5 min)",
    }


class Steal:
    """The share of CPU time that the hypervisor kept from this machine since this was made; 0 if unknown."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def percent(self) -> float:
        """Percent of all CPU time, idle time included."""
        now = psutil.cpu_times()
        spent = sum(now) - sum(self._before)
        stolen = getattr(now, "steal", 0.0) - getattr(self._before, "steal", 0.0)
        return 100.0 * stolen / spent if spent else 0.0


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform()
