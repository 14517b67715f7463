"""Makes single components and what diffusers and transformers give for them in float32: folders in
tests/data/models, the pipeline's folder tests/data/tiny, and tests/data/forward/NAME[.RUN].safetensors
with "in/TENSOR" and "out/TENSOR" of a run.

python tests/gen/models [MODULE...]    the modules of this folder that are named, else all
"""

import importlib
import sys

import torch

import common

MODULES = ("tiny", "text", "unets", "unets2d", "autoencoders", "embedders", "depth")

torch.set_num_threads(1)
with torch.no_grad():
    for name in sys.argv[1:] or MODULES:
        importlib.import_module(name).make()
for folder in (common.TINY, common.MODELS, common.FORWARD):
    for path in folder.rglob("*.*"):
        path.chmod(0o644)
