"""Hostile and damaged inputs: tables, arrays, idx, images, YAML, overrides and archives.

An input has a number, from which it can be made again: ``python tests/hostile/fuzz.py 1234``.
"""

import gzip
import io
import json
import random
import resource
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import yaml
from damages import outcome
from PIL import Image, PngImagePlugin

from boltzwalk.cli.arguments import parse_assignments
from boltzwalk.data import Images, Table
from boltzwalk.data.mnist import read_idx
from boltzwalk.recipes import RECIPES
from boltzwalk.recipes.lookup import resolved_settings
from boltzwalk.settings.settings import from_yaml, to_yaml
from boltzwalk.study.spec_file import study_from_yaml
from boltzwalk.training.pair_plot import pair_plot

MEMORY_GB = 1.5
"""How much the process may grow."""

WORDS = (
    *("", "0", "1", "-1", "1e3", "1e308", "1e999", "-0.0", "nan", "inf", "-inf", "NaN", "None"),
    *("true", "010", "0x10", "6_4", "2:00", "1,5", "1.234,5", "१२", "１０", "½", "1e-400"),
    *("9" * 400, "=1+1", "@cmd", "+1", "-", "a", "α", "\u202e", "\x00", "\x1b[31m", "\r", "\ufeff"),
    *("a" * 5000, "$\\frac{$", "x$^^$", "$x$", "[red]", "[/]", "<script>", "{{x}}", "%s", "{0}"),
    *("!!python/object/apply:os.system [x]", "&a [*a]", "*a", "[", "{", "{a: ", "- - -", "? :"),
    *("<<", "\\", '"', "'", "../../x", "/dev/zero", "/etc/passwd", "~", "$HOME", "file.py:Net"),
    *(
        "os:system",
        "digits",
        "2026-01-01",
        "01.02.2026",
        "12:30",
        "1/2",
        "1e",
        "e1",
        "--1",
        "1 000",
    ),
    *("1'000", "\t", "null"),
)
"""Fields and values that have been read wrongly somewhere."""


def table(chance, path):
    """A text table with odd fields, separators, lines, quotes and encodings."""
    mild = chance.random() < 0.5
    columns = chance.choice((2, 3, 5)) if mild else chance.choice((0, 1, 2, 3, 5, 40, 400))
    rows = chance.choice((30, 300)) if mild else chance.choice((0, 1, 2, 30, 300))
    separator = "," if mild else chance.choice((";", "\t", " ", "|", "\x1f", ", ", "::"))
    scale = chance.choice((1, 1, 1e-9, 1e9, 1e300))
    odd = 0.0 if mild else chance.choice((0.0, 0.01, 0.2, 1.0))

    def field():
        if chance.random() < odd:
            return chance.choice(WORDS)
        return repr(round(chance.gauss(0, scale), 3))

    odd_names = [word for word in WORDS if separator not in word and word not in ("\r", '"')]
    names = (chance.choice((f"c{j}", chance.choice(odd_names))) for j in range(columns))
    lines = [separator.join(f"c{j}{name}" if mild else name for j, name in enumerate(names))]
    for _ in range(rows):
        count = columns + (chance.choice((-1, 1, 3)) if chance.random() < odd / 9 else 0)
        lines.append(separator.join(field() for _ in range(max(0, count))))
    if not mild and chance.random() < 0.2:
        chance.shuffle(lines)
    text = chance.choice(("\n", "\n", "\r\n", "\r", "\n\n")).join(lines)
    encoding = chance.choice((*["utf-8"] * 5, "utf-16", "latin-1", "utf-32", "utf-8-sig"))
    content = text.encode(encoding, errors="replace")
    path = path.with_suffix(chance.choice((".csv", ".csv", ".tsv", ".txt", ".data")))
    path.write_bytes(broken(chance, content, 0.1 if mild else 0.2))
    options = chance.choice(
        ({}, {}, {"header": True}, {"separator": ";"}, {"missing": "median"}, {"decimal": ","},
         {"unpacked_gb": 0.001}, {"drop": ("c0",)})
    )  # fmt: skip
    return lambda: loaded(Table(str(path), **options))


def loaded(data):
    """Loads data, draws their pairs, and returns their size."""
    dataset = data.load()
    rows = dataset.train[:50].flatten(1)[:, :3].double().numpy()
    if len(dataset.event_shape) == 1 and rows.shape[1] > 1 and hash(dataset.digest) % 40 == 0:
        pair_plot(rows, rows, tuple(dataset.columns)[:3], "rows")
    return str(dataset.event_shape).encode()


def broken(chance, content, probability):
    """The bytes, some of them changed now and then."""
    if chance.random() > probability or not content:
        return content
    changed = bytearray(content)
    for _ in range(chance.choice((1, 3, 30))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.choice((len(changed), chance.randrange(len(changed)) + 1))])


def array(chance, path):
    """A .npy or .npz file of an odd type or shape, with a false header or damage."""
    types = "f4 f8 f8 u1 u1 i8 f2 f16 i1 u8 b1 c16 U3 S5 M8[s] m8[s] O f4,i4 >f4 V7".split()  # noqa: SIM905
    odd = ((), (0,), (5,), (3, 0), (0, 3), (2, 2, 2, 2, 2), (10**6,), (4, 8, 8, 3))
    shape = chance.choice((*odd, *[(40, 3), (30, 8, 8)] * 4))
    count = int(np.prod(shape)) if shape else 1
    x = np.zeros(shape, chance.choice(types))
    if x.dtype.kind in "fiu" and count:
        numbers = np.random.default_rng(chance.randrange(10**6)).normal(0, 50, shape)
        with np.errstate(all="ignore"):
            x = numbers.astype(x.dtype)
    buffer = io.BytesIO()
    if chance.random() < 0.5:
        np.save(buffer, x, allow_pickle=True)
        content, suffix = buffer.getvalue(), ".npy"
        if chance.random() < 0.3:
            header = chance.choice(
                ("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000, 1000)}",
                 "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3)}", "[" * 3000, "{}",
                 "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", "__import__('os')",
                 "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 1e9)}", "9" * 9000)
            )  # fmt: skip
            content = (
                b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n"
            )
            content += bytes(chance.choice((0, 24, 4096)))
    else:
        names = chance.choice((("x",), ("x", "labels"), ("original", "x"), ("../../x",), ("",), ()))
        np.savez_compressed(buffer, **{name: x for name in names if name})
        content, suffix = buffer.getvalue(), ".npz"
    path = path.with_suffix(suffix)
    path.write_bytes(broken(chance, content, 0.3))
    kind = chance.choice((Table, Images)) if len(shape) != 3 else Images
    return lambda: loaded(
        kind(str(path), value_range=(-300, 300)) if kind is Images else kind(str(path))
    )


def idx(chance, path):
    """An idx file with a false header, too many axes, or packed."""
    axes = chance.choice((0, 1, 2, 3, 9, 255))
    shape = [chance.choice((0, 1, 5, 2**31, 2**32 - 1)) if chance.random() < 0.2 else 4] * axes
    content = bytes((0, 0, chance.choice((8, 8, 8, 9, 11, 12, 13, 14, 0, 99)), axes))
    size = chance.choice((0, 4, 64, 64 * 8)) if chance.random() < 0.5 else 4 ** min(axes, 9)
    content += struct.pack(f">{axes}I", *shape) + bytes(size)
    content = broken(chance, content, 0.3)
    path.write_bytes(gzip.compress(content) if chance.random() < 0.5 else content)
    return lambda: str(read_idx(path).shape).encode()


def picture(chance, path):
    """Images of odd modes and sizes, truncated, or with very many pixels in few bytes."""
    folder = path.with_suffix("")
    folder.mkdir()
    plain = chance.random() < 0.4
    for number in range(20 if plain else chance.choice((1, 3, 20))):
        modes = ("RGB", "RGBA", "1", "P", "I;16", "I", "F", "CMYK", "LA", "YCbCr")
        mode = "L" if plain else chance.choice(modes)
        size = (8, 8) if plain else chance.choice(((8, 8), (1, 1), (8, 9), (3000, 2), (1, 60000)))
        if not plain and chance.random() < 0.03:
            mode, size = "1", (12000, 12000)
        image = Image.new(mode, size, 1 if mode in ("1", "P", "F", "I", "I;16") else "white")
        if plain:
            image = Image.frombytes(mode, size, chance.randbytes(size[0] * size[1]))
        suffixes = (".png", ".jpg", ".gif", ".bmp", ".tif", ".webp", ".ppm", ".txt")
        suffix = ".png" if mode == "1" or (plain and number) else chance.choice(suffixes)
        buffer = io.BytesIO()
        info = PngImagePlugin.PngInfo()
        info.add_text("a", "b" * 10**6, zip=True)
        try:
            if suffix == ".png":
                image.save(buffer, "PNG", pnginfo=info)
            else:
                image.save(buffer, Image.registered_extensions().get(suffix, "PNG"))
        except (OSError, ValueError, KeyError):
            buffer.write(b"\x89PNG\r\n\x1a\n")
        name = chance.choice((f"{number}", f"$x${number}", f"[red]{number}", f".{number}"))
        (folder / f"{name}{suffix}").write_bytes(broken(chance, buffer.getvalue(), 0.3))
    options = chance.choice(
        ({}, {"size": 8}, {"size": 8, "channels": 1}, {"skip_unreadable": True})
    )
    return lambda: loaded(Images(str(folder), **options))


def tree(chance, depth=0):
    """Nested values of odd kinds."""
    kind = chance.random()
    if depth > 4 or kind < 0.5:
        return chance.choice((*WORDS, 0, 1.5, -3, True, None, 10**30, [], {}))
    if kind < 0.75:
        return [tree(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {str(chance.choice(WORDS))[:40]: tree(chance, depth + 1) for _ in range(3)}


BOMB = "a: &x [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"b{i}: &x{i} [{', '.join([f'*x{i - 1}' if i else '*x'] * 9)}]\n" for i in range(9)
)
"""A kilobyte of YAML that stands for 9 to the power of ten values."""


def settings_file(chance, path):
    """The settings of a run, or a study, with odd values, hostile YAML, or damage."""
    known = yaml.safe_load(
        to_yaml(resolved_settings(chance.choice(("toy", "digits", "table")), []))
    )
    node, place = known, known
    while isinstance(node, dict) and node and chance.random() < 0.8:
        place, key = node, chance.choice(list(node))
        node = place[key]
    if isinstance(place, dict) and place:
        place[chance.choice(list(place))] = tree(chance)
    text = yaml.safe_dump(known)
    if chance.random() < 0.2:
        text = chance.choice(
            ("[" * 3000, "a: &a [*a]", "{" * 500, "!!python/name:os.system", "- " * 4000, "&" * 9,
             BOMB, "\ufeff", "\x00", "%YAML 9", "--- a\n--- b", "? ? ? ?", "'",
             "a: |\n" + "b" * 10**6)
        )  # fmt: skip
    text = broken(chance, text.encode(errors="replace"), 0.1).decode(errors="replace")
    path = path.with_suffix(".yaml")
    path.write_text(text)
    if chance.random() < 0.3:
        study = {"recipe": "toy", "seeds": [0], "blocks": {"a": {"axes": {"batch": [8, 9]}}}}
        study[chance.choice((*study, "samples", "rungs", "settings"))] = tree(chance)
        text = yaml.safe_dump(study)
        return lambda: repr(study_from_yaml(text, ())).encode()
    return lambda: repr(from_yaml(path.read_text(), path)).encode()


NAMES = list(RECIPES)
KEYS = (
    *("batch", "updates", "seed", "learning_rate", "steps", "method.kernel.step_size", "kernel"),
    *("start", "optimizer", "energy", "energy.network", "widths", "data.split", "data.path"),
    *("split", "device", "precision", "threads", "output.keep", "data", "method", "condition"),
    *("x", "", "="),
)


def override(chance, path):
    """Assignments with odd keys and values."""
    words = []
    for _ in range(chance.choice((1, 1, 2, 4))):
        key, value = chance.choice(KEYS), chance.choice((tree(chance), chance.randrange(9)))
        text = value if isinstance(value, str) else chance.choice((json.dumps(value), str(value)))
        forms = (f"{key}={text}", f"{key}={text}", f"--{key}={text}", text, f"{key}==", f"{key}")
        words.append(chance.choice(forms))
    recipe = chance.choice(NAMES)
    return lambda: repr(resolved_settings(recipe, parse_assignments(words))).encode()


def archive(chance, path):
    """Packed files that unpack to very much, lie about their size, or are damaged."""
    kind = chance.choice(("csv.gz", "gz idx", "npz", "npz header", "zip", "xlsx", "nested"))
    huge = chance.choice((1000, 10**6, 3 * 10**8 if chance.random() < 0.03 else 10**7))
    if kind in ("csv.gz", "gz idx", "nested"):
        line = b"1.5,2.5\n2.5,1.25\n" if kind == "csv.gz" else bytes(8)
        content = gzip.compress(b"a,b\n" * (kind == "csv.gz") + line * (huge // len(line)), 1)
        content = gzip.compress(content, 1) if kind == "nested" else content
        path = path.with_suffix(".csv.gz" if kind != "gz idx" else ".gz")
        path.write_bytes(broken(chance, content, 0.3))
        if kind == "gz idx":
            return lambda: str(read_idx(path).shape).encode()
        return lambda: loaded(Table(str(path), unpacked_gb=0.05))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        if kind == "npz header":
            start = b"\x93NUMPY\x02\x00" + struct.pack("<I", huge)
            packed.writestr("x.npy", start + b" " * huge)
        elif kind == "npz":
            shape = (huge, 1)
            header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
            start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
            packed.writestr("x.npy", start + bytes(range(256)) * (huge // 256) + bytes(huge % 256))
        else:
            for name in ("xl/workbook.xml", "[Content_Types].xml", "../../x", "x.npy"):
                packed.writestr(name, b"<a>" + b" " * huge)
    suffix = {"xlsx": ".xlsx", "zip": chance.choice((".csv", ".npz", ".zip"))}.get(kind, ".npz")
    path = path.with_suffix(suffix)
    path.write_bytes(broken(chance, buffer.getvalue(), 0.3))
    return lambda: loaded(Table(str(path), unpacked_gb=0.05))


MAKERS = (table, table, array, array, idx, picture, settings_file, override, override, archive)


def main(folder, numbers):
    """Reads inputs and counts their ends; prints those that are faults."""
    counts, faults = {}, []
    # A process that grows beyond all bounds gets a MemoryError, which is a fault.
    limit = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + int(MEMORY_GB * 1e9), limit[1]))
    try:
        for number in numbers:
            chance, place = random.Random(number), Path(folder) / "input"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            make = MAKERS[number % len(MAKERS)]
            end = outcome(make(chance, place / "input"))
            key = f"{make.__name__} {end.ending.replace('same', 'read').replace('told', 'read')}"
            counts[key] = counts.get(key, 0) + 1
            advice = "allow_pickle" in end.text
            if end.ending in ("traceback", "hang") or advice:
                faults.append(f"{number} {make.__name__}: {end.ending} {end.text}")
            elif len(numbers) == 1:
                print(number, make.__name__, end)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    return counts, faults


if __name__ == "__main__":
    import tempfile

    import torch

    torch.set_num_threads(1)
    first, last = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int(sys.argv[1]) + 1
    with tempfile.TemporaryDirectory() as home:
        totals, problems = main(Path(home), range(first, last))
    print("\n".join(problems))
    print(dict(sorted(totals.items())))
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most")
