"""Makes tests/data/bad/*.safetensors, one fault each, and the README that says which."""

import json
import pathlib
import struct

from safetensors import SafetensorError, safe_open

HERE = pathlib.Path(__file__).resolve().parent.parent / "data" / "bad"


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def file(header, data=bytes(8), size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


GOOD = {"a": entry("F32", [2], 0, 8)}
DEEP = b'{"a":' + b"[" * 70 + b"]" * 70 + b"}"
TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}'
CONFLICT = b'{\n<<<<<<< HEAD\n"a":1\n=======\n"a":2\n>>>>>>> theirs\n}'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"

# name: (what is wrong, bytes, whether Python's reader refuses it as well)
FILES = {
    "empty": ("no bytes at all", b"", True),
    "prefix_short": ("5 bytes, the header's size needs 8", bytes(5), True),
    "prefix_only": ("a header of 2 bytes that is not there", struct.pack("<Q", 2), True),
    "header_zero": ("a header of 0 bytes", file(b"", bytes(16)), True),
    "header_huge": ("a header of 2^63 bytes", file(GOOD, size=1 << 63), True),
    "header_cut": ("the file ends within the header", file(GOOD)[:40], True),
    "header_short": ("the header's size is 3 too small", file(GOOD, size=len(json.dumps(GOOD)) - 3), True),
    "header_array": ("the header is an array", file(b"[]", b""), True),
    "lfs_pointer": ("a Git LFS pointer in place of the file", POINTER, True),
    "conflict": ("a merge conflict in the header", file(CONFLICT), True),
    "json_deep": ("70 arrays within each other", file(DEEP), True),
    "json_comma": ("a comma after the last entry", file(b'{"a":1,}'), True),
    "json_tail": ("a second value after the header", file(b"{} {}", b""), True),
    "json_string": ("a string that is not closed", file(b'{"a', b""), True),
    "not_utf8": ("a name that is not UTF-8", file(json.dumps(GOOD).replace("a", "\xff", 1).encode("latin-1")), True),
    "entry_number": ("an entry that is a number", file({"a": 1}), True),
    "dtype_missing": ("an entry without dtype", file({"a": {"shape": [2], "data_offsets": [0, 8]}}), True),
    "dtype_unknown": ("dtype F33", file({"a": entry("F33", [2], 0, 8)}), True),
    "dtype_complex": ("dtype C64, which dfxcl does not read", file({"a": entry("C64", [1], 0, 8)}), False),
    "rank": ("6 dimensions, dfxcl reads 5", file({"a": entry("F32", [1, 1, 1, 1, 1, 2], 0, 8)}), False),
    "shape_bytes": ("shape [3] of F32 in 8 bytes", file({"a": entry("F32", [3], 0, 8)}), True),
    "shape_negative": ("shape [-1, -2]", file({"a": entry("F32", [-1, -2], 0, 8)}), True),
    "shape_float": ("shape [2.0]", file({"a": entry("F32", [2.0], 0, 8)}), True),
    "shape_overflow": ("shape [2^62, 4], whose bytes are 0 modulo 2^64", file({"a": entry("F32", [1 << 62, 4], 0, 0)}, b""), True),
    "shape_hidden": ("shape [0, 2^62, 2^62]", file({"a": entry("F32", [0, 1 << 62, 1 << 62], 0, 0)}, b""), False),
    "shape_large": ("shape [2^70]", file({"a": entry("U8", [1 << 70], 0, 8)}), True),
    "offset_one": ("data_offsets [8]", file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8]}}), True),
    "offset_negative": ("data_offsets [-8, 0]", file({"a": entry("F32", [2], -8, 0)}), True),
    "offset_reversed": ("data_offsets [8, 0]", file({"a": entry("F32", [2], 8, 0)}), True),
    "offset_beyond": ("data_offsets beyond the file, as when it is cut short", file(GOOD, bytes(7)), True),
    "offset_large": ("data_offsets [2^64-8, 2^64]", file({"a": entry("F32", [2], (1 << 64) - 8, 1 << 64)}), True),
    "overlap": ("two tensors share 4 bytes", file({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12)), True),
    "hole": ("4 bytes between two tensors", file({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 12, 16)}, bytes(16)), True),
    "tail": ("4 bytes after the last tensor", file(GOOD, bytes(12)), True),
    "name_twice": ("a name twice, with other types", file(TWICE), False),
}


def refused(path):
    try:
        with safe_open(path, framework="pt") as f:
            for key in f.keys():
                f.get_slice(key)
    except (SafetensorError, OSError):
        return True
    return False


def main():
    HERE.mkdir(exist_ok=True)
    lines = ["Files that dfx_tensors_open must refuse, made by tests/gen/bad_safetensors.py.", ""]
    for name, (wrong, content, expected) in FILES.items():
        path = HERE / f"{name}.safetensors"
        path.write_bytes(content)
        if refused(path) != expected:
            raise SystemExit(f"{name}: Python's reader {'takes' if expected else 'refuses'} it")
        lines.append(f"{name + '.safetensors':28} {wrong}")
    (HERE / "README").write_text("\n".join(lines) + "\n")


main()
