"""The machine of a result: processor, instruction sets, system, C library. No host or user name."""

import os
import platform
from dataclasses import dataclass

from refit.core.processor import cpuinfo

SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512vl", "avx512_vnni", "amx_tile")
"""Instruction sets by which numerical libraries choose their kernels, as Linux spells them."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What of a machine can change the bits of a result."""

    processor: str
    vendor: str
    instructions: tuple[str, ...]
    cores: int
    system: str
    libc: str

    def same_kind(self, other: "Machine") -> bool:
        """Whether both have the same processor vendor, instruction sets and C library."""
        kinds = [(machine.vendor, machine.instructions, machine.libc) for machine in (self, other)]
        return kinds[0] == kinds[1]


def this() -> Machine:
    """The machine that this process runs on."""
    cpu = cpuinfo()
    flags = cpu.get("flags", "").split()
    return Machine(
        processor=cpu.get("model name") or platform.processor() or platform.machine(),
        vendor=cpu.get("vendor_id", "unknown"),
        instructions=tuple(name for name in SETS if name in flags),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        libc=" ".join(platform.libc_ver()).strip() or "unknown",
    )


def parse(stored: dict[str, object]) -> Machine:
    """A machine from what `asdict` and JSON made of it."""
    value = stored.get("instructions")
    instructions = tuple(map(str, value)) if isinstance(value, list | tuple) else ()
    return Machine(
        processor=str(stored.get("processor", "")),
        vendor=str(stored.get("vendor", "")),
        instructions=instructions,
        cores=int(str(stored.get("cores", 1))),
        system=str(stored.get("system", "")),
        libc=str(stored.get("libc", "")),
    )
