"""Makes tests/data/prompts.txt: prompts with weights, and what diffusers' community pipelines make of
them (examples/community/lpw_stable_diffusion.py and lpw_stable_diffusion_xl.py in its repository);
and tests/data/prompts.safetensors: "NAME", the states [negative; positive] of a run's prompts with the
tiny models, and "NAME/pooled", by these pipelines' arithmetic, or by StableDiffusionPipeline itself.

prompts.txt has three lines for each: "sd", "xl" or "both"; the prompt with bytes outside printable ASCII as \\xHH;
WEIGHT:ID,ID... of the tokens by the emoji model's tokenizer, or "error".
"""

import itertools
import pathlib
import random
import re

import diffusers
import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from tokenizer import PARTS, escape

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
DATA = TOP / "tests" / "data"
TOKENIZER = CLIPTokenizer.from_pretrained(TOP / "share" / "models" / "emoji" / "tokenizer")

PIECE = re.compile(r"\\[()\[\]\\]|\\|[(\[\])]|:(?P<factor>[+-]?[.\d]+)\)|[^\\()\[\]:]+|:")
BREAK = re.compile(r"\s*\bBREAK\b\s*")


def text_parts(text, is_xl):
    """A text without brackets as [text, weight] parts."""
    if not is_xl:
        return [[text, 1.0]]
    first, *others = BREAK.split(text)
    return [[first, 1.0]] + [part for text in others for part in (["BREAK", -1], [text, 1.0])]


def weighted_parts(prompt, is_xl):
    parts, opened = [], {"(": [], "[": []}

    def close(bracket, factor):
        for part in parts[opened[bracket].pop():]:
            part[1] *= factor

    for match in PIECE.finditer(prompt):
        piece = match[0]
        if piece[0] == "\\":
            parts.append([piece[1:], 1.0])
        elif piece in opened:
            opened[piece].append(len(parts))
        elif match["factor"] and opened["("]:
            close("(", float(match["factor"]))
        elif piece == ")" and opened["("]:
            close("(", 1.1)
        elif piece == "]" and opened["["]:
            close("[", 1 / 1.1)
        else:
            parts += text_parts(piece, is_xl)
    for bracket, factor in (("(", 1.1), ("[", 1 / 1.1)):
        while opened[bracket]:
            close(bracket, factor)
    return parts


def weighted_tokens(tokenizer, prompt, is_xl=False):
    """Ids and weights; parts of one weight that stand together are tokenised together."""
    merged = []
    for text, weight in weighted_parts(prompt, is_xl):
        if merged and merged[-1][1] == weight:
            merged[-1][0] += text
        else:
            merged.append([text, weight])
    tokens = []
    for text, weight in merged:
        tokens += [(i, weight) for i in tokenizer(text).input_ids[1:-1]]
    return tokens


PROMPTS = r"""
normal text
an (important) word
(unbalanced
un)balanced] (a] [b) ([c)]
\(literal\]
(unnecessary)(parens)
a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).
(red:1.5) apple, (green:.5) [pear], (blue:2.) plum, (x:+1.25) (y:-0.5) (z:0)
(red: 1.5) (red:1.5 ) (red:1.5x) (red:1e2) (red:) (:1.5) red:1.5) (re:d:1.2) (a:1.2:1.3)
(a:1.2.3)
(a:.)
(a:1.2.3
a (b:1.2.3) c)
(a\:1.2) (a\(b\):1.3) \\(c) \\\(d\) \e \
[[[[deep]]]] ((((deep:1.1)))) [(mixed:1.3) [in]:1.2] (in [a] (b:0.9):1.4)
(a:1.1)(b:1.1) (a)(b:1.1) (a:1.1)b(c)
a BREAK b
aBREAK b BREAKb BREAK_ _BREAK BREAK1 BREAK-BREAK, BREAK
BREAK
BREAK BREAK  BREAK
(a BREAK b:1.5) [BREAK] (BREAK:2) \BREAK BREAK:BREAK
break Break éBREAK BREAK。
(猫:１.２) (кот:١.٥) (x:𝟏.𝟓) (y:²)
[a:b:0.5] [a|b] {a|b} <lora:x:0.8> (a:1.2)(b:1.2) ::
:
::1.2)
(((
)))
[]()
([)]
((a:1.5)
(don't:1.2) 'll (<|endoftext|>:1.3) <|startofte(xt|>:1.1)
""".strip("\n").split("\n")


def hard():
    chance = random.Random(6)
    pieces = ["(", "(", ")", "[", "]", ":1.2)", ":0.75)", ":", "\\", "\\(", " ", "BREAK", " BREAK ", "red", "apple",
              ", ", "1.5", "!", "\u3000", "\u2028", "\x1d"] + [p[:3] for p in PARTS[:24]]
    for _ in range(60):
        yield "".join(chance.choice(pieces) for _ in range(chance.randint(3, 20)))


def line(prompt, is_xl):
    try:
        tokens = weighted_tokens(TOKENIZER, prompt, is_xl)
    except ValueError:
        return "error"
    runs = itertools.groupby(tokens, lambda token: token[1])
    return " ".join(f"{weight!r}:" + ",".join(str(i) for i, _ in run) for weight, run in runs)


# ---- states of SD ----


def chunk_states(pipe, ids, clip_skip):
    hidden = pipe.text_encoder(torch.tensor([ids]), output_hidden_states=True).hidden_states
    return pipe.text_encoder.final_layer_norm(hidden[-1 - clip_skip])[0]


def long_states(pipe, prompts, multiples=3, no_boseos_middle=False, clip_skip=0):
    """What lpw_stable_diffusion makes of prompts that share their number of chunks."""
    tokenizer = pipe.tokenizer
    inner = tokenizer.model_max_length - 2
    texts = [weighted_tokens(tokenizer, p)[:multiples * inner] for p in prompts]
    chunks = max(1, min(multiples, (max(map(len, texts)) - 1) // inner + 1))
    out = []
    for text in texts:
        text += [(tokenizer.pad_token_id, 1.0)] * (chunks * inner - len(text))
        states, weights = [], []
        for k in range(chunks):
            part = text[k * inner:(k + 1) * inner]
            begin = int(no_boseos_middle and k > 0)
            end = inner + 1 if no_boseos_middle and k + 1 < chunks else inner + 2
            ids = [tokenizer.bos_token_id, *(i for i, _ in part), tokenizer.eos_token_id]
            states.append(chunk_states(pipe, ids, clip_skip)[begin:end])
            weights += [1.0, *(w for _, w in part), 1.0][begin:end]
        states = torch.cat(states)
        weighted = states * torch.tensor(weights)[:, None]
        out.append(weighted * (states.mean() / weighted.mean()))
    return torch.stack(out)


LONG = "a (red:1.4) apple [on] a (((cat))), " * 3
# name: prompts, negative prompts (None: no guidance), and how; they stand in test_prompt.c too
RUNS = {
    "long": ([LONG, "red"], ["(blue:0.6) cat", ""], {}),
    "long.joined": ([LONG, "red"], ["(blue:0.6) cat", ""], dict(no_boseos_middle=True)),
    "long.two": ([LONG], ["cat"], dict(multiples=2)),
    "long.skip": ([LONG], ["cat"], dict(clip_skip=1)),
    "long.short": (["(red) apple"], None, {}),
    "long.empty": ([""], None, {}),
}


# ---- states of SDXL ----


def long_states_xl(pipe, prompts, negative, clip_skip=0):
    """What lpw_stable_diffusion_xl makes of one prompt and its negative one: [negative; positive] of
    the states and of the pooled texts. Weights are f16 there."""
    tokenizers = (pipe.tokenizer, pipe.tokenizer_2)
    texts = [[weighted_tokens(t, " ".join(p), True) for t in tokenizers] for p in (negative, prompts)]
    most = max(len(tokens) for text in texts for tokens in text)
    inner, eos = pipe.tokenizer.model_max_length - 2, pipe.tokenizer.eos_token_id
    out, pooled = [], []
    for text, skip in zip(texts, (0, clip_skip)):
        joined = []
        for begin in range(0, most, inner):
            count = min(inner, most - begin)
            states = []
            for tokens, tower in zip(text, (pipe.text_encoder, pipe.text_encoder_2)):
                part = tokens[begin:begin + count]
                ids = [i for i, _ in part] + [eos] * (count - len(part) + 1)
                y = tower(torch.tensor([[pipe.tokenizer.bos_token_id, *ids]]), output_hidden_states=True)
                states.append(y.hidden_states[-2 - skip])
            states = torch.cat(states, -1)[0]
            for n, (_, weight) in enumerate(text[0][begin:begin + count], 1):
                factor = torch.tensor(weight, dtype=torch.float16).float()
                if factor != 1:
                    states[n] = states[-1] + (states[n] - states[-1]) * factor
            joined.append(states)
        out.append(torch.cat(joined))
        pooled.append(y.text_embeds[0])
    return torch.stack(out), torch.stack(pooled)


def make_states_xl(tensors):
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(DATA / "tiny_xl", torch_dtype=torch.float32)
    for name, prompts, negative, skip in (
            ("xl", [LONG + "BREAK cat"], ["(blue:0.6) cat"], 0),
            ("xl.second", ["(red:1.3) apple", "[cat]"], [LONG], 0),
            ("xl.skip", ["(red:1.3) apple"], [""], 1)):
        tensors[name], tensors[f"{name}/pooled"] = long_states_xl(pipe, prompts, negative, skip)


def make_states():
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(DATA / "tiny", torch_dtype=torch.float32)
    CLIPTextModel.text_model = property(lambda self: self)  # its name before transformers 5
    tensors = {}
    for name, (prompts, negative, how) in RUNS.items():
        tensors[name] = long_states(pipe, (negative or []) + prompts, **how)
    for name, prompts, negative, skip in (
            ("lists", ["a red apple", "cat"], ["cat", "red"], None),
            ("skip", ["a red apple", "cat"], None, 1)):
        embeds, other = pipe.encode_prompt(prompts, "cpu", 1, True, negative, clip_skip=skip)
        tensors[name] = torch.cat([other, embeds])
    make_states_xl(tensors)
    save_file({k: v.contiguous() for k, v in tensors.items()}, DATA / "prompts.safetensors")
    (DATA / "prompts.safetensors").chmod(0o644)


def make_tokens():
    with open(DATA / "prompts.txt", "w") as f:
        for prompt in ["", " ", *PROMPTS, *hard()]:
            lines = {"sd": line(prompt, False), "xl": line(prompt, True)}
            if lines["sd"] == lines["xl"]:
                lines = {"both": lines["sd"]}
            for kind, tokens in lines.items():
                print(kind, escape(prompt.encode()), tokens, sep="\n", file=f)


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_tokens()
    with torch.no_grad():
        make_states()
