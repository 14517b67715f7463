"""Makes tests/data/dtypes.safetensors with safetensors itself, and odd_header.safetensors, the same
with a header that is not padded, as old files have it: no tensor is aligned in the file."""

import pathlib
import struct

import torch
from safetensors.torch import save

HERE = pathlib.Path(__file__).resolve().parent.parent / "data"
STEPS = torch.tensor([[0, 1, 2], [-1, -2, -3]])

tensors = {
    "f32": STEPS.float() / 2,
    "f16": STEPS.half() / 2,
    "bf16": STEPS.bfloat16() / 2,
    "f64": STEPS.double() / 2,
    "i64": STEPS * 2**33,
    "i32": STEPS.int() * 2**17,
    "i16": STEPS.short() * 2**9,
    "i8": STEPS.char(),
    "u8": torch.tensor([0, 128, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(7.0),
    "empty": torch.zeros(0, 4),
    "rank5": torch.arange(12.0).reshape(1, 2, 1, 3, 2),
    'quote"\\é': torch.tensor([1.0]),
}
packed = save(tensors)
(HERE / "dtypes.safetensors").write_bytes(packed)

size = struct.unpack("<Q", packed[:8])[0]
header = packed[8 : 8 + size].rstrip(b" ")
header = b'{"__metadata__":{"format":"pt"},' + header[1:]
header += b" " * ((1 - len(header)) % 2)
(HERE / "odd_header.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + packed[8 + size :])
