"""UNet2DConditionModel."""

import diffusers
import torch

from common import MODELS, add_run, check_effect, fill, noise

CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
SIMPLE_DOWN, SIMPLE_UP = "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D"


def unet(**more):
    return diffusers.UNet2DConditionModel(**{
        "sample_size": 8, "block_out_channels": (8, 16), "norm_num_groups": 4,
        "layers_per_block": 1, "cross_attention_dim": 12, "attention_head_dim": 4,
        "down_block_types": (CROSS_DOWN, "DownBlock2D"), "up_block_types": ("UpBlock2D", CROSS_UP),
        **more})


UNETS = {
    "unet_linear": dict(
        use_linear_projection=True, attention_head_dim=[2, 4], layers_per_block=[2, 1],
        transformer_layers_per_block=2, down_block_types=(CROSS_DOWN, CROSS_DOWN),
        up_block_types=(CROSS_UP, CROSS_UP)),
    "unet_cross": dict(
        only_cross_attention=True, center_input_sample=True, flip_sin_to_cos=False, freq_shift=1,
        norm_eps=1e-3),
    "unet_scales": dict(
        downsample_padding=0, mid_block_scale_factor=1.5, resnet_out_scale_factor=1.25,
        time_embedding_dim=24, conv_in_kernel=5, conv_out_kernel=1, in_channels=5, out_channels=3),
    "unet_three": dict(
        block_out_channels=(8, 8, 16), attention_head_dim=[1, 2, 4],
        transformer_layers_per_block=[1, 1, 2], layers_per_block=[1, 2, 1], sample_size=[8, 12],
        only_cross_attention=[False, True, False],
        down_block_types=("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
        up_block_types=(CROSS_UP, "UpBlock2D", CROSS_UP)),
    "unet_refiner": dict(
        use_linear_projection=True, flip_sin_to_cos=False, freq_shift=1, time_embedding_dim=24,
        addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=31),
    "unet_sdxl": dict(
        block_out_channels=(8, 8, 16), attention_head_dim=[2, 4, 8],
        transformer_layers_per_block=[1, 2, 3], use_linear_projection=True,
        down_block_types=("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
        up_block_types=(CROSS_UP, CROSS_UP, "UpBlock2D"), addition_embed_type="text_time",
        addition_time_embed_dim=6, projection_class_embeddings_input_dim=49),
    # As the x2 latent upscaler: blocks of k-diffusion, whose groups have 32 channels or more.
    "unet_k": dict(
        block_out_channels=(32, 40, 40), time_embedding_dim=40, attention_head_dim=8,
        layers_per_block=[2, 1, 1], norm_num_groups=None, mid_block_type=None, act_fn="gelu",
        time_embedding_type="fourier", timestep_post_act="gelu", time_cond_proj_dim=11,
        conv_in_kernel=1, conv_out_kernel=1, in_channels=5, out_channels=3,
        resnet_time_scale_shift="scale_shift",
        down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"),
        up_block_types=("KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D")),
    # As DeepFloyd IF's: a pooled and a projected text, attention to it and to the pixels at once.
    "unet_added": dict(
        block_out_channels=(8, 8, 16), attention_head_dim=[4, 8, 2], act_fn="gelu",
        cross_attention_dim=64, cross_attention_norm="group_norm", encoder_hid_dim=10,
        addition_embed_type="text", addition_embed_type_num_heads=2, class_embed_type="timestep",
        resnet_time_scale_shift="scale_shift", resnet_skip_time_act=True,
        resnet_out_scale_factor=1.25, mid_block_scale_factor=1.5, time_embedding_act_fn="gelu",
        only_cross_attention=[False, True, False], mid_block_only_cross_attention=True,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        down_block_types=("ResnetDownsampleBlock2D", SIMPLE_DOWN, SIMPLE_DOWN),
        up_block_types=(SIMPLE_UP, SIMPLE_UP, "ResnetUpsampleBlock2D")),
    "unet_mish": dict(
        block_out_channels=(12, 12), cross_attention_norm="layer_norm", act_fn="MISH",
        timestep_post_act="mish", class_embed_type="projection", class_embeddings_concat=True,
        projection_class_embeddings_input_dim=9, mid_block_type="UNetMidBlock2D",
        only_cross_attention=True, down_block_types=("UNetResDownBlock2D", SIMPLE_DOWN),
        up_block_types=(SIMPLE_UP, "UNetResUpBlock2D")),
    # As the x4 upscaler: noise levels are classes.
    "unet_levels": dict(
        in_channels=7, num_class_embeds=6, use_linear_projection=True,
        block_out_channels=(8, 8, 8), only_cross_attention=[True, True, False],
        cross_attention_dim=[3, 12, 12], down_block_types=("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
        up_block_types=(CROSS_UP, CROSS_UP, "UpBlock2D")),
    "unet_self": dict(
        block_out_channels=(8, 16), attention_head_dim=[2, 8], act_fn="relu", mid_block_type=None,
        class_embed_type="simple_projection", projection_class_embeddings_input_dim=9,
        time_embedding_act_fn="swish", time_cond_proj_dim=6,
        down_block_types=("AttnDownBlock2D", CROSS_DOWN),
        up_block_types=(CROSS_UP, "AttnUpBlock2D")),
    # As distilled ones of SDXL: another depth in each layer of a level, and on the way up.
    "unet_depths": dict(
        block_out_channels=(8, 8), attention_head_dim=2, layers_per_block=2, transformer_layers_per_block=[[1, 0], 2],
        reverse_transformer_layers_per_block=[[1, 2, 1], [0, 1, 2]], class_embed_type="identity",
        time_embedding_dim=16, resnet_time_scale_shift="scale_shift",
        down_block_types=(CROSS_DOWN, CROSS_DOWN), up_block_types=(CROSS_UP, CROSS_UP)),
}

# Of many transformers, whose gain must not be more than what real ones have.
DEEP = ("unet_linear", "unet_sdxl")

COARSE = ("unet_k", "unet_added", "unet_mish", "unet_levels", "unet_self", "unet_depths")

# Where sizes are halved and doubled, whatever the skips' are.
SIZES = {"unet_k": (12, 20), "unet_added": (12, 20), "unet_mish": (14, 18), "unet_self": (14, 18)}

CLASSES = {
    "unet_added": torch.tensor([3.0, 0.5, 77.0]), "unet_levels": torch.tensor([5, 0, 2]),
    "unet_mish": noise(3, 9, seed=7), "unet_self": noise(3, 9, seed=7),
    "unet_depths": noise(3, 16, seed=7),
}

# Sizes for each sample: the refiner's (height, width, top, left, score), and SDXL's
# (height, width, top, left, height, width).
TIME_IDS = {
    "unet_refiner": [[1024, 768, 0, 64, 6.0], [512, 512, 7, 0, 2.5], [1, 2, 3, 4, 5]],
    "unet_sdxl": [[1024, 768, 0, 64, 512, 640], [100, 1333, 7, 0, 1024, 1024],
                  [1, 2, 3, 4, 5, 6]],
}


def text_width(config):
    width = config.encoder_hid_dim or config.cross_attention_dim
    return width if isinstance(width, int) else width[-1]


def run_unet(name, model, height, width):
    batch, config = 3, model.config
    added = {}
    if config.addition_embed_type == "text_time":
        ids = torch.tensor(TIME_IDS[name], dtype=torch.float32)
        sinusoids = ids.shape[1] * config.addition_time_embed_dim
        pooled = config.projection_class_embeddings_input_dim - sinusoids
        added = {"text_embeds": noise(batch, pooled, seed=6), "time_ids": ids}
    times = [0.83, 0.25, -1.5] if config.time_embedding_type == "fourier" else [832.5, 0.25, 999.0]
    inputs = {
        "sample": noise(batch, config.in_channels, height, width, seed=2),
        "timestep": torch.tensor(times),
        "encoder_hidden_states": noise(batch, 7, text_width(config), seed=3),
    }
    if name in CLASSES:
        inputs["class_labels"] = CLASSES[name]
    if config.time_cond_proj_dim:
        inputs["timestep_cond"] = noise(batch, config.time_cond_proj_dim, seed=8)

    def run(m):
        return {"sample": m(**inputs, added_cond_kwargs=added).sample}

    check_effect(model, [run])
    add_run(name, inputs | added, run(model))


def make():
    for seed, (name, config) in enumerate(UNETS.items()):
        model = fill(unet(**config), 20 + seed, 1 if name in COARSE else 2, 0.75 if name in DEEP else 1)
        run_unet(name, model, *SIZES.get(name, (13, 19)))
        model.half().save_pretrained(MODELS / name)
