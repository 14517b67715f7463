"""UNet2DConditionModel."""

import diffusers
import torch

from common import MODELS, add_run, check_effect, fill, noise

CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"


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
}

# Sizes for each sample: the refiner's (height, width, top, left, score), and SDXL's
# (height, width, top, left, height, width).
TIME_IDS = {
    "unet_refiner": [[1024, 768, 0, 64, 6.0], [512, 512, 7, 0, 2.5], [1, 2, 3, 4, 5]],
    "unet_sdxl": [[1024, 768, 0, 64, 512, 640], [100, 1333, 7, 0, 1024, 1024],
                  [1, 2, 3, 4, 5, 6]],
}


def run_unet(name, model, height, width):
    batch = 3
    added = {}
    if model.config.addition_embed_type:
        ids = torch.tensor(TIME_IDS[name], dtype=torch.float32)
        sinusoids = ids.shape[1] * model.config.addition_time_embed_dim
        pooled = model.config.projection_class_embeddings_input_dim - sinusoids
        added = {"text_embeds": noise(batch, pooled, seed=6), "time_ids": ids}
    inputs = {
        "sample": noise(batch, model.config.in_channels, height, width, seed=2),
        "timestep": torch.tensor([832.5, 0.25, 999.0]),
        "encoder_hidden_states": noise(batch, 7, model.config.cross_attention_dim, seed=3),
    }

    def run(m):
        return {"sample": m(**inputs, added_cond_kwargs=added).sample}

    check_effect(model, [run])
    add_run(name, inputs | added, run(model))


def make():
    for seed, (name, config) in enumerate(UNETS.items()):
        model = fill(unet(**config), 20 + seed)
        run_unet(f"{name}", model, 13, 19)
        model.half().save_pretrained(MODELS / name)
