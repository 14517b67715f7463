"""What the generators of components share: weights that compress, runs and their files.

Weights are random with few bits each, so that the files compress, and their outputs are about 1.
"""

import logging
import pathlib
import warnings

import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

DATA = pathlib.Path(__file__).resolve().parent.parent.parent / "data"
TINY, MODELS, FORWARD = DATA / "tiny", DATA / "models", DATA / "forward"

# What is read but changes nothing: a bias of the keys shifts all scores of a query alike.
WITHOUT_EFFECT = ("k_proj.bias", "to_k.bias", "attention.key.bias")


def coarse(shape, generator, steps=2):
    """Normal numbers in steps of 1 / steps."""
    return torch.round(torch.randn(shape, generator=generator) * steps) / steps


def fill(model, seed, steps=2, gain=1):
    """Norm weights about 1, biases about 0.1, matrices that keep the scale of what they multiply, or
    times a gain. That of torch's initialisation is 0.58, and of the shipped UNet's matrices 0.74 in
    the median; in f16 a residual stream of many layers loses what the gain multiplies."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for name, p in model.named_parameters():
        value = coarse(p.shape, generator, steps)
        if p.dim() == 1:
            value = value / 8 + (1 if "norm" in name and name.endswith("weight") else 0)
        elif "embedding.weight" not in name:
            value *= gain * 2.0 ** round(-0.5 * torch.log2(torch.tensor(float(p[0].numel()))).item())
        p.data = value
    return model.eval()


def changed(model, p, run, before):
    """How much the outputs change with a parameter, relatively."""
    kept = p.data
    p.data = kept * 1.5 + 0.125
    after = run(model)
    p.data = kept
    return max(((after[k] - before[k]).norm() / before[k].norm()).item() for k in before)


def check_effect(model, runs, unused=()):
    """Each parameter changes a result by 25 times what runs may differ in f32, or more.
    unused: parts of names of parameters that transformers has and does not use."""
    outputs = [run(model) for run in runs]
    for name, p in model.named_parameters():
        if any(part in name for part in unused):
            continue
        effect = max(changed(model, p, run, before) for run, before in zip(runs, outputs))
        has_one_channel_a_group = name.endswith(("conv1.bias", "time_emb_proj.bias"))
        assert effect > 5e-4 or name.endswith(WITHOUT_EFFECT) or has_one_channel_a_group, (name, effect)
    for output in outputs:
        for name, value in output.items():
            assert 0.1 < value.std() < 10, (name, value.std())


def add_run(name, inputs, outputs):
    """Writes FORWARD/NAME.safetensors: "in/TENSOR" and "out/TENSOR"."""
    tensors = {f"in/{k}": v.contiguous() for k, v in inputs.items()}
    tensors |= {f"out/{k}": v.float().contiguous() for k, v in outputs.items()}
    FORWARD.mkdir(exist_ok=True)
    save_file(tensors, FORWARD / f"{name}.safetensors")


def noise(*shape, seed=0):
    return coarse(shape, torch.Generator("cpu").manual_seed(seed))
