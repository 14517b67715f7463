"""Depth estimators: DPT with BiT before its transformer, as Stable Diffusion 2's depth model has it,
and without. The map of an odd number of patches differs in size from the finer levels."""

import torch
from transformers import DPTConfig, DPTForDepthEstimation
from transformers.models.bit.modeling_bit import WeightStandardizedConv2d

from common import MODELS, add_run, check_effect, fill, noise

SMALL = dict(hidden_size=24, intermediate_size=40, num_attention_heads=3, num_hidden_layers=2,
             fusion_hidden_size=4, layer_norm_eps=1e-6)
BIT = dict(embedding_size=8, hidden_sizes=[8, 16, 24], depths=[1, 2, 1], num_groups=4,
           layer_type="bottleneck", global_padding="same", embedding_dynamic_padding=True,
           out_features=["stage1", "stage2", "stage3"])


def check_standardized(model, run):
    """What makes a weight larger or adds to all of it changes nothing, so that single numbers are
    changed here."""
    before = run(model)["predicted_depth"]
    for name, module in model.named_modules():
        if isinstance(module, WeightStandardizedConv2d):
            kept = module.weight.data
            module.weight.data = kept.clone()
            module.weight.data.flatten(1)[:, 0] += 1
            effect = (run(model)["predicted_depth"] - before).norm() / before.norm()
            module.weight.data = kept
            assert effect > 1e-3, (name, effect)


def make_one(name, seed, config, pixels, unused=()):
    model = fill(DPTForDepthEstimation(DPTConfig(**SMALL, **config)), seed)
    model.head.head[4].bias.data[:] = 1.5  # the map is above 0, and more than differences
    inputs = {"pixel_values": pixels.half()}

    def run(m):
        return {"predicted_depth": m(pixels).predicted_depth}

    assert (run(model)["predicted_depth"] > 0).float().mean() > 0.8
    check_effect(model, [run], ("dpt.layernorm", "layers.0.residual_layer1", *unused))
    if config.get("is_hybrid"):
        check_standardized(model, run)
    add_run(name, inputs, run(model))
    model.half().save_pretrained(MODELS / name)


def make():
    standardized = ("embedder.convolution", ".conv1.weight", ".conv2.weight", ".conv3.weight",
                    "downsample.conv.weight")
    make_one("dpt_hybrid", 70, dict(is_hybrid=True, backbone_config={"model_type": "bit", **BIT},
                                    image_size=48, patch_size=16, backbone_out_indices=[2, 5, 0, 1],
                                    neck_hidden_sizes=[8, 16, 12, 8],
                                    reassemble_factors=[1, 1, 1, 0.5],
                                    backbone_featmap_shape=[1, 24, 3, 3]),
             noise(2, 3, 48, 48, seed=3), standardized)
    make_one("dpt_plain", 71, dict(image_size=15, patch_size=5, backbone_out_indices=[0, 1],
                                   neck_hidden_sizes=[8, 12], reassemble_factors=[3, 0.5],
                                   readout_type="add", qkv_bias=False,
                                   use_bias_in_fusion_residual=False),
             noise(3, 3, 21, 24, seed=4))
