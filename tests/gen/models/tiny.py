"""tests/data/tiny, the folder of a StableDiffusionPipeline, and its components' runs."""

import json
import pathlib
import tempfile

import diffusers
import transformers

import autoencoders
import text
import unets
from common import TINY, fill

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
TOKENS = 24  # fewer than the text encoder's 32 positions


def make_tokenizer():
    printable = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    merges = ["r e", "re d</w>", "c a", "ca t</w>", "a p", "p l", "pl e</w>", "ap ple</w>"]
    tokens = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges]
    vocabulary = {t: i for i, t in enumerate(tokens + [BOS, EOS])}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps(
            {"model_max_length": TOKENS, "pad_token": EOS, "tokenizer_class": "CLIPTokenizer"}))
        return transformers.CLIPTokenizer.from_pretrained(folder), len(vocabulary)


def make():
    tokenizer, words = make_tokenizer()
    tower = fill(transformers.CLIPTextModel(text.text_config(
        vocab_size=words, bos_token_id=words - 2, eos_token_id=words - 1,
        pad_token_id=words - 1)), 1)
    net = fill(unets.unet(block_out_channels=(32, 64), norm_num_groups=8, cross_attention_dim=32), 2)
    coder = fill(autoencoders.vae(4, block_out_channels=(16, 16, 16, 32), norm_num_groups=8,
                     layers_per_block=1, sample_size=64), 3)
    text.run_text("text_encoder", tower, TOKENS)
    unets.run_unet("unet", net, 13, 19)
    # its norms are of a few numbers each where the latents are smaller
    autoencoders.run_vae("vae", coder, 45, 62)
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
        steps_offset=1)
    pipe = diffusers.StableDiffusionPipeline(
        coder.half(), tower.half(), tokenizer, net.half(), scheduler, None, None, None,
        requires_safety_checker=False)
    pipe.save_pretrained(TINY)
