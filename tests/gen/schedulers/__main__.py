"""Makes tests/data/schedulers/CLASS.safetensors from diffusers' own schedulers.

python tests/gen/schedulers [CLASS...]    the classes that are named, else all
"""

import sys

import common
import ddpm_like
import edm
import few_step
import flow
import multistep
import sigma

CLASSES = (ddpm_like.CLASSES | sigma.CLASSES | multistep.CLASSES | edm.CLASSES | flow.CLASSES
           | few_step.CLASSES)

for name in sys.argv[1:] or CLASSES:
    common.make(name, CLASSES[name])
