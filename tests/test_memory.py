"""Memory that this process keeps."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from srlm import memory
from srlm.devices import free_device_memory

SHAPES = """
import ctypes
import srlm.models
import torch

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

def used():
    return (found := mallinfo2()).uordblks + found.hblkhd

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Info
weights = torch.randn(64, 48).bfloat16()
with torch.inference_mode():
    for rows in range(1, 701):
        torch.nn.functional.linear(torch.randn(rows, 48).bfloat16(), weights)
        if rows == 200:
            before = used()
print((used() - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallinfo2 belongs to glibc")
def test_products_of_ever_other_shapes_do_not_fill_the_memory():
    """Without a bound, oneDNN keeps code for each shape: 300 MiB more here on a processor with AMX."""
    done = subprocess.run([sys.executable, "-c", SHAPES], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("memory.max", "memory.current", "memory.stat"), "inactive_file"),
        (
            ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
            "total_inactive_file",
        ),
    ],
)
def test_files_that_a_container_has_read_are_free_memory(tmp_path, monkeypatch, names, line):
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**12))
    limit, used, stat = (tmp_path / name for name in names)
    limit.parent.mkdir(exist_ok=True)
    assert memory.free_memory() == 10**12
    limit.write_text("8000\n")
    used.write_text("6500\n")
    assert memory.free_memory() == 1500
    stat.write_text(f"anon 1000\n{line} 5000\nactive_file 400\nother_{line} 9\n")
    assert memory.free_memory() == 6500
    limit.write_text("max\n")
    assert memory.free_memory() == 10**12


def test_what_torch_holds_in_reserve_is_free_memory(monkeypatch):
    for name, value in (("mem_get_info", (700, 9000)), ("memory_reserved", 5000), ("memory_allocated", 4200)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    assert free_device_memory("cuda") == 1500
