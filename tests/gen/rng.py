"""Makes tests/data/rng.safetensors: draws of torch's CPU generator.

"KIND.TYPE.N": N numbers of that kind (normal or uniform) and type from seed 1234; "integers.I": 20
whole numbers of range I of RANGES from the same seed; with each "NAME.next", the two uniform numbers
that the generator gives then. "seed.I": 5 normals of seed I of SEEDS. "mixed.I": the draws of MIXED
one after the other from one generator of seed 7.
"""

import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent.parent / "data"
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# as in test_rng.c; some of 4096 uniform numbers round to 1, which torch does not give
COUNTS = (1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 100, 4096)
RANGES = ((0, 10), (-5, 100), (0, 2**28 - 1), (0, 2**28), (-2**31, 2**31 - 1), (0, 2**32),
          (-2**62, 2**62), (-2**63, 2**63 - 1))
SEEDS = (2**32 + 42, -1, -42, -2**63, 2**63, 2**64 - 1)
# the second of a pair must last over the longer draws and the uniform ones
MIXED = (("n", 3), ("n", 17), ("n", 1), ("u", 5), ("n", 1),
         ("n", 16), ("n", 4), ("u", 700), ("n", 33), ("n", 2))

tensors = {}


def keep(name, draw):
    generator = torch.Generator().manual_seed(1234)
    tensors[name] = draw(generator)
    tensors[name + ".next"] = torch.rand(2, generator=generator)


for count in COUNTS:
    for name, dtype in TYPES.items():
        keep(f"normal.{name}.{count}", lambda g: torch.randn(count, generator=g, dtype=dtype))
        keep(f"uniform.{name}.{count}", lambda g: torch.rand(count, generator=g, dtype=dtype))
for index, (low, high) in enumerate(RANGES):
    keep(f"integers.{index}", lambda g: torch.randint(low, high, (20,), generator=g))
for index, seed in enumerate(SEEDS):
    tensors[f"seed.{index}"] = torch.randn(5, generator=torch.Generator().manual_seed(seed))
generator = torch.Generator().manual_seed(7)
for index, (kind, count) in enumerate(MIXED):
    draw = torch.randn if kind == "n" else torch.rand
    tensors[f"mixed.{index}"] = draw(count, generator=generator)
save_file(tensors, HERE / "rng.safetensors")
