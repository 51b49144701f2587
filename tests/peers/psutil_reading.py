"""Prints one JSON object with psutil's readings for every line on stdin, until stdin ends."""

import json
import sys

import psutil


def reading():
    times = psutil.cpu_times()
    memory = psutil.virtual_memory()
    swap = psutil.swap_memory()
    disks = psutil.disk_io_counters(perdisk=True) or {}
    interfaces = psutil.net_io_counters(pernic=True) or {}
    return {
        "cpu_times": times._asdict(),
        "cpu_count": psutil.cpu_count(),
        "memory": {"total": memory.total, "available": memory.available},
        "swap": {"total": swap.total, "used": swap.used, "sin": swap.sin, "sout": swap.sout},
        "disks": {name: counters._asdict() for name, counters in disks.items()},
        "interfaces": {name: counters._asdict() for name, counters in interfaces.items()},
        "load": psutil.getloadavg(),
        "boot_time": psutil.boot_time(),
        "root": psutil.disk_usage("/")._asdict(),
    }


for _ in sys.stdin:
    print(json.dumps(reading()), flush=True)
