"""Makes tests/data/rng.safetensors: draws of torch's CPU generator.

"normal.N" and "uniform.N" for counts N from seed 1234; "high_seed", 5 normals of seed 2^32 + 42;
"mixed.I", the draws of MIXED one after the other from one generator of seed 7.
"""

import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent.parent / "data"
COUNTS = (1, 2, 3, 15, 16, 17, 31, 32, 100, 4096)
# as in test_rng.c; the second of a pair must last over the longer draws and the uniform ones
MIXED = (("n", 3), ("n", 17), ("n", 1), ("u", 5), ("n", 1),
         ("n", 16), ("n", 4), ("u", 700), ("n", 33), ("n", 2))


def draw(kind, count, generator):
    return (torch.randn if kind == "n" else torch.rand)(count, generator=generator)


tensors = {}
for count in COUNTS:
    for kind, name in ("n", "normal"), ("u", "uniform"):
        tensors[f"{name}.{count}"] = draw(kind, count, torch.Generator().manual_seed(1234))
tensors["high_seed"] = draw("n", 5, torch.Generator().manual_seed(2**32 + 42))
generator = torch.Generator().manual_seed(7)
for index, (kind, count) in enumerate(MIXED):
    tensors[f"mixed.{index}"] = draw(kind, count, generator)
save_file(tensors, HERE / "rng.safetensors")
