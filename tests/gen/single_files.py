"""Makes tests/data/single: small checkpoints in the original layout, and what their parts compute.

Models of random weights are made by diffusers and transformers and written under the original's
names by the maps below, which know nothing of the library's; diffusers' own from_single_file, which
goes the other way, must give back every tensor. "NAME/PART/in.X" and "NAME/PART/out.Y" of
expected.safetensors are for test_single_file.c. The files have no metadata, so that all that is
known of them is their tensors.
"""

import logging
import pathlib
import re
import tempfile
import warnings

import diffusers
import torch
import transformers
from diffusers.loaders import single_file_utils
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "single"
VOCAB, TOKENS = 24, 8


def few_bits(model, seed):
    """Random weights of few bits in f16, norms near 1, as big as keeps the sums near 1."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for name, p in model.named_parameters():
        p.requires_grad_(False)
        noise = torch.randn(p.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            p.copy_(1 + torch.round(noise * 8) / 64)
        elif p.dim() == 1:
            p.copy_(torch.round(noise * 8) / 64)
        else:
            fan = p[0].numel()
            scale = 2 ** round(torch.log2(torch.tensor(4 * fan ** 0.5)).item())
            p.copy_(torch.round(noise * 4) / scale)
    return model.eval()


def text(width, layers, act, seed, projection=None):
    config = transformers.CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=1, max_position_embeddings=TOKENS, hidden_act=act,
        projection_dim=projection or width, eos_token_id=2, bos_token_id=0, pad_token_id=1)
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    return few_bits(kind(config), seed)


def unet(seed, **keys):
    return few_bits(diffusers.UNet2DConditionModel(norm_num_groups=4, **keys), seed)


def vae(seed, channels, layers=1, groups=4):
    n = len(channels)
    return few_bits(diffusers.AutoencoderKL(
        block_out_channels=channels, layers_per_block=layers, latent_channels=4,
        norm_num_groups=groups, down_block_types=["DownEncoderBlock2D"] * n,
        up_block_types=["UpDecoderBlock2D"] * n), seed)


CROSS, PLAIN = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")


def levels(*kinds):
    return dict(down_block_types=[k[0] for k in kinds], up_block_types=[k[1] for k in kinds[::-1]])


def models():
    sd1 = dict(sample_size=64, block_out_channels=(4, 8), layers_per_block=1, attention_head_dim=4,
               cross_attention_dim=8, **levels(CROSS, PLAIN))
    yield "sd1", diffusers.StableDiffusionPipeline, dict(
        unet=unet(1, **sd1), vae=vae(2, (4, 8)), text_encoder=text(8, 2, "quick_gelu", 3))
    yield "sd1_inpainting", diffusers.StableDiffusionPipeline, dict(
        unet=unet(4, in_channels=9, **sd1), text_encoder=text(8, 1, "quick_gelu", 16))
    sd2 = dict(sample_size=96, block_out_channels=(4, 8), layers_per_block=2,
               attention_head_dim=(1, 1), cross_attention_dim=12, use_linear_projection=True,
               upcast_attention=True, **levels(CROSS, PLAIN))
    yield "sd2", diffusers.StableDiffusionPipeline, dict(
        unet=unet(5, **sd2), vae=vae(6, (4, 4), 2), text_encoder=text(12, 2, "gelu", 7))
    upscaler = dict(sample_size=128, block_out_channels=(4, 8), layers_per_block=1, in_channels=7,
                    attention_head_dim=4, cross_attention_dim=12, use_linear_projection=True,
                    num_class_embeds=20, only_cross_attention=(True, False),
                    **levels(CROSS, CROSS))
    yield "x4_upscaler", diffusers.StableDiffusionPipeline, dict(
        unet=unet(8, **upscaler), text_encoder=text(12, 1, "gelu", 9))
    sdxl = dict(sample_size=128, block_out_channels=(4, 8, 8), layers_per_block=1,
                attention_head_dim=(1, 1, 1), cross_attention_dim=20, use_linear_projection=True,
                transformer_layers_per_block=(1, 1, 2), addition_embed_type="text_time",
                addition_time_embed_dim=4, projection_class_embeddings_input_dim=36,
                **levels(PLAIN, CROSS, CROSS))
    yield "sdxl", diffusers.StableDiffusionXLPipeline, dict(
        unet=unet(10, **sdxl), vae=vae(11, (4, 8)),
        text_encoder=text(8, 1, "quick_gelu", 12),
        text_encoder_2=text(12, 2, "gelu", 13, projection=12))
    refiner = dict(sdxl, cross_attention_dim=12, transformer_layers_per_block=2,
                   projection_class_embeddings_input_dim=32, **levels(PLAIN, CROSS, PLAIN))
    yield "sdxl_refiner", diffusers.StableDiffusionXLPipeline, dict(
        unet=unet(14, **refiner), text_encoder_2=text(12, 1, "gelu", 15, projection=12))


def replace(name, pairs):
    for old, new in pairs:
        name = re.sub(old, new, name)
    return name


RESNET = [(r"\bnorm1\b", "in_layers.0"), (r"\bconv1\b", "in_layers.2"), (r"\bnorm2\b", "out_layers.0"),
          (r"\bconv2\b", "out_layers.3"), ("time_emb_proj", "emb_layers.1"),
          ("conv_shortcut", "skip_connection")]
OUTSIDE = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
           "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
           "class_embedding": "label_emb", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0",
           "conv_out": "out.2"}


def unet_name(name, config):
    layers, n = config.layers_per_block, len(config.block_out_channels)
    block, _, end = name.rpartition(".")
    if block in OUTSIDE:
        return f"{OUTSIDE[block]}.{end}"
    m = re.match(r"(down|up|mid)_block(?:s\.(\d+))?\.(\w+)\.(\d+)\.(.*)", name)
    where, level, kind, i, rest = m[1], int(m[2] or 0), m[3], int(m[4]), m[5]
    if kind == "resnets":
        rest = replace(rest, RESNET)
    if where == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * i}.{rest}"
    if where == "down":
        first = 1 + level * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{first + i}.{int(kind == 'attentions')}.{rest}"
    first = level * (layers + 1)
    if kind == "upsamplers":
        place = 2 if "CrossAttn" in config.up_block_types[level] else 1
        return f"output_blocks.{first + layers}.{place}.{rest}"
    return f"output_blocks.{first + i}.{int(kind == 'attentions')}.{rest}"


def vae_name(name, config):
    n = len(config.block_out_channels)
    name = re.sub(r"up_blocks\.(\d+)", lambda m: f"up_blocks.{n - 1 - int(m[1])}", name)
    return replace(name, [
        ("_blocks", ""), (r"resnets", "block"), (r"(down|up)samplers\.0", r"\1sample"),
        (r"mid_block\.block\.0", "mid.block_1"), (r"mid_block\.block\.1", "mid.block_2"),
        (r"mid_block\.attentions\.0", "mid.attn_1"), ("group_norm", "norm"), (r"to_out\.0", "proj_out"),
        (r"to_([qkv])\b", r"\1"), ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut")])


def open_clip(state):
    """transformers' text tower under open_clip's names, with its fused projections."""
    out = {}
    for name, t in state.items():
        name = name.removeprefix("text_model.")
        new = replace(name, [
            (r"^embeddings\.token_embedding", "token_embedding"),
            (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
            (r"^final_layer_norm", "ln_final"), (r"^encoder\.layers", "transformer.resblocks"),
            (r"layer_norm(\d)", r"ln_\1"), (r"mlp\.fc1", "mlp.c_fc"), (r"mlp\.fc2", "mlp.c_proj"),
            (r"self_attn", "attn")])
        if name == "text_projection.weight":
            out["text_projection"] = t.T.contiguous()
        elif m := re.match(r"(.*)\.q_proj\.(weight|bias)", new):
            parts = [state[(k := next(k for k in state if k.endswith(name)))
                           .replace("q_proj", f"{x}_proj")] for x in "qkv"]
            out[f"{m[1]}.in_proj_{m[2]}"] = torch.cat(parts)
        elif not re.search(r"\.[kv]_proj\.", new):
            out[new] = t
    return out


def original(name, parts):
    out = {}
    for part, model in parts.items():
        state = {k: v.half() for k, v in model.state_dict().items()}
        if part == "unet":
            out |= {"model.diffusion_model." + unet_name(k, model.config): v
                    for k, v in state.items()}
        elif part == "vae":
            conv = re.compile(r"attentions.*(to_[qkv]|to_out\.0)\.weight")
            out |= {"first_stage_model." + vae_name(k, model.config):
                    v[:, :, None, None] if conv.search(k) else v for k, v in state.items()}
        elif model.config.hidden_act == "quick_gelu":
            place = "conditioner.embedders.0" if "sdxl" in name else "cond_stage_model"
            out |= {f"{place}.transformer.text_model.{k.removeprefix('text_model.')}": v
                    for k, v in state.items()}
        else:
            place = {"sdxl": "conditioner.embedders.1", "sdxl_refiner": "conditioner.embedders.0"}
            prefix = place.get(name, "cond_stage_model") + ".model."
            out |= {prefix + k: v for k, v in open_clip(state).items()}
    return {k: v.contiguous() for k, v in out.items()}


def check(parts, checkpoint, folder):
    """diffusers makes of the file what it was made of."""
    for part, model in parts.items():
        model.half().save_pretrained(folder / part)
        if part in ("unet", "vae"):
            back = type(model).from_single_file(dict(checkpoint), config=str(folder),
                                                subfolder=part)
        else:
            back = single_file_utils.create_diffusers_clip_model_from_ldm(
                type(model), dict(checkpoint), subfolder=part, config=str(folder),
                local_files_only=True)
        state, expected = back.state_dict(), model.state_dict()
        assert state.keys() == expected.keys(), (part, state.keys() ^ expected.keys())
        for key, value in expected.items():
            assert torch.equal(state[key].half(), value), (part, key)
        model.float()


def draw(shape, seed):
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.round(torch.randn(shape, generator=generator) * 16) / 16


@torch.no_grad()
def run(part, model):
    c = model.config
    if part == "vae":
        side = 2 ** (len(c.block_out_channels) - 1)
        given = {"sample": draw((1, 3, 5 * side, 4 * side), 21)}
        moments = model.encode(given["sample"]).latent_dist
        return given, {"latent_mean": moments.mean}
    if part != "unet":
        ids = torch.randint(3, VOCAB - 1, (2, TOKENS), generator=torch.Generator().manual_seed(22))
        ids[:, -3:] = VOCAB - 1
        out = model(ids, output_hidden_states=True)
        expected = {"hidden_states.-2": out.hidden_states[-2],
                    "last_hidden_state": out.last_hidden_state}
        if hasattr(out, "text_embeds"):
            expected["text_embeds"] = out.text_embeds
        return {"input_ids": ids}, expected
    given = {"sample": draw((1, c.in_channels, 6, 8), 23), "timestep": torch.tensor([321.0]),
             "encoder_hidden_states": draw((1, 5, c.cross_attention_dim), 24)}
    keys = {}
    if c.addition_embed_type:
        sizes = 5 if c.projection_class_embeddings_input_dim == 32 else 6
        keys = {"text_embeds": draw((1, 12), 25),
                "time_ids": torch.tensor([[64.0, 48, 0, 3, 56, 40][:sizes]])}
        given |= keys
        keys = {"added_cond_kwargs": keys}
    if c.num_class_embeds:
        given["class_labels"] = torch.tensor([7])
        keys["class_labels"] = given["class_labels"]
    out = model(given["sample"], given["timestep"], given["encoder_hidden_states"], **keys)
    return given, {"sample": out.sample}


def main():
    tensors = {}
    DATA.mkdir(exist_ok=True)
    for name, pipeline, parts in models():
        checkpoint = original(name, parts)
        with tempfile.TemporaryDirectory() as folder:
            check(parts, checkpoint, pathlib.Path(folder))
        save_file(checkpoint, DATA / f"{name}.safetensors")
        for part, model in parts.items():
            given, expected = run(part, model)
            tensors |= {f"{name}/{part}/in.{k}": v for k, v in given.items()}
            tensors |= {f"{name}/{part}/out.{k}": v for k, v in expected.items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, DATA / "expected.safetensors")


if __name__ == "__main__":
    main()
