"""Reading a table of numbers: boltzwalk, `numpy.loadtxt` and pandas, in time and in memory.

    python benchmarks/reading.py [--rows 1000000] [--columns 10] [--rounds 3]

Each reading runs in a process of its own, one after the other, round by round, so that a busy
machine slows all of them alike. Ratios are those of medians, time is that of the processor. Memory
is the peak while the table is read, less that before, when a small table was read once. Linux only.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

READERS = {
    "numpy.loadtxt": (
        "import numpy as np\nread = lambda p: np.loadtxt(p, delimiter=',', skiprows=1)"
    ),
    "boltzwalk": (
        "from boltzwalk.data import Table\n"
        "read = lambda p: Table(p, whitening='none', decimal='.').read()[1]"
    ),
    "boltzwalk, splits and whitening": (
        "from boltzwalk.data import Table\nread = lambda p: Table(p, decimal='.').load().train"
    ),
    "pandas.read_csv": "import pandas as pd\nread = lambda p: pd.read_csv(p).to_numpy()",
}
"""The code of each reader."""

MEASURE = """
import json, sys, time
{code}
def memory(name):
    with open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith(name)))
read(sys.argv[1])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before, cpu = memory("VmRSS"), time.process_time()
result = read(sys.argv[2])
cpu = time.process_time() - cpu
print(json.dumps([cpu, (memory("VmHWM") - before) / 1024, list(result.shape)]))
"""


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_table(path: Path, rows: int, columns: int, kind: str) -> None:
    """Writes a table with a header; with 4 % of the fields empty if asked."""
    values = np.random.default_rng(0).normal(size=(rows, columns))
    names = ",".join(f"x{i}" for i in range(columns))
    np.savetxt(path, values, "%.6f", ",", header=names, comments="")
    if kind == "with gaps":
        gaps = np.random.default_rng(1).random((rows, columns)) < 0.04
        with open(path) as file:
            lines = file.read().splitlines()
        for i, row in enumerate(gaps, 1):
            fields = lines[i].split(",")
            lines[i] = ",".join("" if gap else f for f, gap in zip(fields, row, strict=True))
        path.write_text("\n".join(lines) + "\n")


def measure(code: str, small: Path, path: Path) -> tuple[float, float]:
    """CPU seconds and the growth of memory in MiB of one reading."""
    command = [sys.executable, "-c", MEASURE.format(code=code), str(small), str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cpu, memory, _ = json.loads(output)
    return cpu, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{processor()}, Python {platform.python_version()}, numpy {np.__version__}")
    for kind in ("numbers", "with gaps"):
        with tempfile.TemporaryDirectory() as folder:
            small, path = Path(folder) / "small.csv", Path(folder) / "table.csv"
            write_table(small, 300, arguments.columns, "numbers")
            write_table(path, arguments.rows, arguments.columns, kind)
            size = path.stat().st_size / 1e6
            shape = f"{arguments.rows:,} x {arguments.columns}, {size:.0f} MB, {kind}"
            print(f"\n{shape}, median of {arguments.rounds}")
            readers = dict(READERS)
            if kind == "with gaps":  # which loadtxt refuses
                readers["numpy.loadtxt"] = (
                    "import numpy as np\nread = lambda p: np.genfromtxt(p, delimiter=',', "
                    "skip_header=1)"
                )
            results: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
            for _ in range(arguments.rounds):
                for name, code in readers.items():
                    results[name].append(measure(code, small, path))
            base = [statistics.median(part) for part in zip(*results["numpy.loadtxt"], strict=True)]
            label = "numpy.loadtxt" if kind == "numbers" else "numpy.genfromtxt"
            for name, pairs in results.items():
                time, memory = (statistics.median(part) for part in zip(*pairs, strict=True))
                shown = label if name == "numpy.loadtxt" else name
                print(
                    f"{shown:<32} {time:7.2f} s  {memory:7.0f} MiB   "
                    f"x {time / base[0]:.2f} in time, x {memory / base[1]:.2f} in memory"
                )


if __name__ == "__main__":
    main()
