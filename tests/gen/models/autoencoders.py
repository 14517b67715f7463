"""Autoencoders."""

import json

import diffusers
import torch
from safetensors.torch import load_file, save_file

from common import MODELS, add_run, check_effect, fill, noise


def vae(levels, **more):
    return diffusers.AutoencoderKL(**{
        "norm_num_groups": 4, "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels, **more})


def run_vae(name, model, height, width, batch=2, size=(5, 7), more=()):
    config = model.config
    image = {"sample": noise(batch, config.in_channels, height, width, seed=4) / 2}
    latent = {"latent": noise(batch, config.latent_channels, *size, seed=5)}

    def encode(m):
        posterior = m.encode(image["sample"]).latent_dist
        return {"latent_mean": posterior.mean, "latent_logvar": posterior.logvar}

    def decode(m):
        return {"sample": m.decode(latent["latent"]).sample}

    check_effect(model, [encode, decode, *more])
    add_run(f"{name}.encode", image, encode(model))
    add_run(f"{name}.decode", latent, decode(model))


def make_sharded_vae():
    model = fill(vae(3, block_out_channels=(8, 8, 16), latent_channels=3, layers_per_block=1,
                     mid_block_add_attention=False, use_quant_conv=False,
                     use_post_quant_conv=False), 30)
    run_vae("vae_sharded", model, 21, 30)
    model.half().save_pretrained(MODELS / "vae_sharded", max_shard_size="30KB")


def make_old_vae():
    """As diffusers before 0.14 wrote it, and in a file of the variant fp16."""
    folder = MODELS / "vae_old"
    model = fill(vae(2, block_out_channels=(8, 16), layers_per_block=2), 31)
    run_vae("vae_old", model, 21, 30)
    model.half().save_pretrained(folder, variant="fp16")
    path = folder / "diffusion_pytorch_model.fp16.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, value in load_file(path).items():
        for new, before in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        state[name] = value
    save_file(state, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    short = ("_class_name", "block_out_channels", "down_block_types", "up_block_types",
             "layers_per_block", "norm_num_groups", "latent_channels", "sample_size")
    config = {k: config[k] for k in short}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def tiny_vae(levels, channels=8, **more):
    return diffusers.AutoencoderTiny(encoder_block_out_channels=(channels,) * levels,
                                     decoder_block_out_channels=(channels,) * levels, **more)


def run_exact(name, model, image, latent):
    """A class whose encoder gives latents and no distribution."""
    image, latent = {"sample": image}, {"latent": latent}

    def encode(m):
        return {"latent_mean": m.encode(image["sample"]).latents}

    def decode(m):
        return {"sample": m.decode(latent["latent"]).sample}

    check_effect(model, [encode, decode])
    add_run(f"{name}.encode", image, encode(model))
    add_run(f"{name}.decode", latent, decode(model))


def run_tiny_vae(name, model, height, width, latent_size):
    config = model.config
    run_exact(name, model, noise(3, config.in_channels, height, width, seed=4) / 2,
              noise(3, config.latent_channels, *latent_size, seed=5) * 2)


def make_tiny_vaes():
    """One with the few keys that published ones have, and one of all that may differ."""
    folder = MODELS / "vae_tiny"
    model = fill(tiny_vae(4, num_encoder_blocks=(1, 0, 2, 1), num_decoder_blocks=(2, 1, 0, 1)), 82)
    run_tiny_vae("vae_tiny", model, 21, 30, (3, 2))
    model.half().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    for later in ("block_out_channels", "shift_factor", "upsample_fn"):
        del config[later]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    model = fill(tiny_vae(2, 6, num_encoder_blocks=(0, 1), num_decoder_blocks=(1, 0), act_fn="mish",
                          in_channels=1, out_channels=2, latent_channels=5), 34)
    run_tiny_vae("vae_tiny_mish", model, 9, 13, (5, 7))
    model.half().save_pretrained(MODELS / "vae_tiny_mish")


def make_attending_vae():
    model = fill(vae(3, block_out_channels=(8, 8, 12), layers_per_block=3, latent_channels=4,
                     down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D",
                                       "AttnDownEncoderBlock2D"],
                     up_block_types=["UpDecoderBlock2D", "AttnUpDecoderBlock2D",
                                     "UpDecoderBlock2D"]), 33)
    run_vae("vae_attending", model, 27, 20, 3, (5, 3))
    model.half().save_pretrained(MODELS / "vae_attending")


def make_vq(name, seed, height, width, **config):
    """The latents are rows of the codebook, each moved a little, so that f16 finds them too."""
    model = fill(diffusers.VQModel(norm_num_groups=4, **config), seed)
    book = model.quantize.embedding.weight
    rows = torch.arange(3 * 7 * 5).reshape(3, 7, 5) * 11 % len(book)
    latent = book[rows].permute(0, 3, 1, 2) + noise(3, book.shape[1], 7, 5, seed=7) / 16
    run_exact(name, model, noise(3, model.config.in_channels, height, width, seed=6) / 2, latent)
    model.half().save_pretrained(MODELS / name)


def make_vqs():
    make_vq("vq_embed", 34, 13, 22, block_out_channels=(8, 12), in_channels=1, out_channels=2,
            latent_channels=5, vq_embed_dim=4, num_vq_embeddings=61, mid_block_add_attention=False,
            down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
            up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"])
    make_vq("vq_plain", 35, 9, 14, block_out_channels=(12,), num_vq_embeddings=97)


def run_asymmetric(name, seed, **config):
    """Decodes without a picture, and with one that a mask leaves parts of."""
    levels = 4
    model = fill(diffusers.AsymmetricAutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels, norm_num_groups=2, **config), seed)
    latent = noise(3, model.config.latent_channels, 3, 2, seed=8)
    channels = model.config.out_channels
    inputs = {"latent": latent, "image": noise(3, channels, 24, 16, seed=9) / 2,
              "mask": (noise(3, 1, 24, 16, seed=10) / 2 + 0.5).clamp(0, 1)}

    def decode(m):
        return {"sample": m.decode(latent, image=inputs["image"], mask=inputs["mask"]).sample}

    run_vae(name, model, 21, 30, 3, (2, 3), [decode])
    add_run(f"{name}.masked", inputs, decode(model))
    model.half().save_pretrained(MODELS / name)


def make_asymmetric():
    """As published ones are, and one where layers of the masked picture have the same shape."""
    run_asymmetric("vae_asym", 36, down_block_out_channels=(4, 6, 4, 8), layers_per_down_block=2,
                   up_block_out_channels=(4, 8, 16, 16), layers_per_up_block=1)
    run_asymmetric("vae_asym_even", 37, down_block_out_channels=(4, 4, 4, 4), in_channels=1,
                   up_block_out_channels=(4, 4, 4, 4), layers_per_up_block=2, out_channels=2,
                   latent_channels=3)


def make():
    make_asymmetric()
    make_attending_vae()
    make_vqs()
    make_tiny_vaes()
    make_sharded_vae()
    make_old_vae()
    model = fill(vae(1, block_out_channels=(32,), norm_num_groups=16, in_channels=1,
                     out_channels=2), 32)
    run_vae("vae_one", model, 9, 13)
    model.half().save_pretrained(MODELS / "vae_one")
