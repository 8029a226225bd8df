"""What a result was computed on: processor, instruction sets, system and C library. No names."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512vl", "avx512_vnni", "amx_tile")
"""Instruction sets that numerical libraries choose their kernels by, as Linux spells them."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine as far as it can change the bits of a result."""

    processor: str
    vendor: str
    instructions: tuple[str, ...]
    cores: int
    system: str
    libc: str

    def same_kind(self, other: "Machine") -> bool:
        """Whether the two have the same maker, instruction sets and C library."""
        mine = (self.vendor, self.instructions, self.libc)
        return mine == (other.vendor, other.instructions, other.libc)


def this() -> Machine:
    """The machine that this process runs on."""
    told = _cpuinfo()
    flags = told.get("flags", "").split()
    return Machine(
        processor=told.get("model name") or platform.processor() or platform.machine(),
        vendor=told.get("vendor_id", "unknown"),
        instructions=tuple(name for name in SETS if name in flags),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        libc=" ".join(platform.libc_ver()).strip() or "unknown",
    )


def parse(stored: dict[str, object]) -> Machine:
    """A machine as `asdict` and JSON left it."""
    instructions = stored.get("instructions")
    listed = tuple(map(str, instructions)) if isinstance(instructions, list | tuple) else ()
    return Machine(
        processor=str(stored.get("processor", "")),
        vendor=str(stored.get("vendor", "")),
        instructions=listed,
        cores=int(str(stored.get("cores", 1))),
        system=str(stored.get("system", "")),
        libc=str(stored.get("libc", "")),
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines; empty where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
