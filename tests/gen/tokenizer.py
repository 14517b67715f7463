"""Makes tests/data/tokenizer: texts, and the ids that transformers' CLIPTokenizer gives them.

merges.txt there is CLIP's own; its vocabulary follows from the merges. prompts.txt has a text a line,
bytes outside printable ASCII and the backslash as \\xHH. VARIANT/ has the small files of a tokenizer's
folder and VARIANT/ids.txt a line "LOST: ids without padding" for each text."""

import json
import pathlib
import random
import re
import shutil
import tempfile
import unicodedata

from transformers import CLIPTokenizer

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = TOP / "tests" / "data" / "tokenizer"
EMOJI = TOP / "share" / "models" / "emoji" / "tokenizer"
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def token(content, normalized, **more):
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False, **more}


def config(**more):
    return {"do_lower_case": True, "errors": "replace", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer", **more}


NAMES = {"bos_token": token(BOS, True), "eos_token": token(EOS, True), "unk_token": token(EOS, True)}
TYPED = {key: {"__type": "AddedToken", **value} for key, value in NAMES.items()}

# The folders' small files, as published models have them.
VARIANTS = {
    "sd1": {
        "tokenizer_config.json": config(**TYPED, pad_token=EOS),
        "special_tokens_map.json": {**NAMES, "pad_token": EOS},
    },
    "sd2": {
        "tokenizer_config.json": config(**TYPED, pad_token=EOS),
        "special_tokens_map.json": {**NAMES, "pad_token": "!"},
    },
    "sdxl": {
        "tokenizer_config.json": config(
            bos_token=BOS, eos_token=EOS, unk_token=EOS, pad_token="!",
            added_tokens_decoder={
                "49407": token(EOS, False, special=True),
                "49406": token(BOS, True, special=True),
                "0": token("!", False, special=True),
            },
        ),
        "special_tokens_map.json": {"pad_token": "does not count"},
    },
    "inversion": {
        "tokenizer_config.json": config(**TYPED, additional_special_tokens=["<Special>"]),
        "special_tokens_map.json": {**NAMES, "pad_token": EOS},
        "added_tokens.json": {"<New>": 49409, "<new-style>": 49408, "Photo": 49410},
    },
    "plain": {},
}


def vocabulary(merges):
    printable = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges] + [BOS, EOS]
    return {t: i for i, t in enumerate(tokens)}


def escape(text):
    return re.sub(rb"[^ -\[\]-~]", lambda m: b"\\x%02x" % m[0][0], text).decode()


PLAIN = """a photo of an astronaut riding a horse on mars
A highly detailed matte painting of a castle, trending on artstation, 8k, octane render
ALL CAPS AND MixedCase
don't I'll we've they're it's I'm he'd she'T 'RE 'llama can''t o'clock rock'n'roll 'd've ''s
'sss 'veve 's's ' s 'x '' ''' '9
(red:1.3), [blue:green:0.5], ((best quality)), <lora:name:0.8>, __wild__
3.14159 1,000,000 v2.0 2024-01-01 4k 8K 1e-5 #1 $100 50% 7up x86_64
e-mail: someone@example.com, https://example.com/a?b=c&d=e#f
&amp; &lt;b&gt; &quot;x&quot; &#39; &nbsp; &eacute; &amp;amp;
wow!!! what??? ... -- --- *** ~~~ ||| <<< >>> === +++ !?!?
!a! !!b!! a!b !
back\\slash \\x41 \\n /slash | pipe ^ caret ` tick ~
<|endoftext|>
<|startoftext|>
<|startoftext|><|endoftext|>
a<|endoftext|>b
a <|endoftext|> b
<|endoftext|><|endoftext|>hello<|endoftext|>
<|ENDOFTEXT|> <|EndOfText|>
<|STARTOFTEXT|> x<|StartOfText|>y
!<|endoftext|>! <|ENDOFTEXT|>! !<|ENDOFTEXT|>
<|endoftext| <|endoftext <|end <| |> <||> |endoftext|>
<|endoftext|>>> <<|endoftext|> <|<|endoftext|>|>
<New> <new> <NEW> a<new>b <new-style> <NEW-STYLE> <new-<new>
<Special> <special> <SPECIAL> x<Special>y photo Photo PHOTO photograph Photographs
</w> a</w> Ġ Ċ Ġhello a</w>b
supercalifragilisticexpialidocious antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis""".split("\n")

PARTS = r"""naïve|café|Ångström|ǅ ǆ Ǆ ﬁ ﬀ ĳ Ĳ ŉ|straße STRASSE ẞ ß|ſ K Å Ω|İstanbul İ I ı i̇|ΣΊΣΥΦΟΣ Σ σς ΑΣ.|Ελληνικά ΆΈΉ ᾳ ᾼ ᾂ ΐ
cafe\u0301 e\u0301\u0323 e\u0323\u0301 a\u0308\u0304 \u0301 \u0301a x\u0301\u0302\u0303\u0304\u0305|o\u0302\u0323 \u1ed9 \u0344 \u0958 \u2126 \u212a \u212b \ufb1d \u0f73 \u0340\u0341
\u1100\u1161\u11a8 \uac00\u11a8 \uac01 \uac00\u11a7 \u1100\u1161\u11a7 \u1112\u1161\u11ab\u1100\u1173\u11af|한국어 안녕하세요 ㅋㅋㅋ
東京タワー 夜景|中文提示词，高清|𠮷野家 㐀 𪚥|カ\u3099 が ｶﾞ ﾊﾝｶｸ ＡＢＣａｂｃ１２３|日本語abc日本 abc日本
привет МИР Ёлка Й и\u0306|Ѐ Ӂ|שלום עולם|שָׁלוֹם|مرحبا بالعالم|مُحَمَّد ٣٤٥|हिन्दी नमस्ते क्षि|ไทย ภาษาไทย ที่|ქართული ᲥᲐᲠᲗᲣᲚᲘ|Հայերեն և|ᏣᎳᎩ ꮳꮃꭹ|አማርኛ|தமிழ் க்ஷ
😀|👍🏽|👩‍👩‍👧‍👦|🇩🇪🇫🇷|❤️ ☺︎|#️⃣ 1️⃣|🏴󠁧󠁢󠁥󠁮󠁧󠁿|a😀b 😀😀|🧑🏿‍🚀 on 🐎
½ ¼ ⅓ x² H₂O ① ⑳ Ⅷ ⅷ ↉|٠١٢ ०१२ 一二三 〇 ㊀ ㈠ 𝟘𝟙 １２３|𝓗𝓮𝓵𝓵𝓸 𝐀 𝔸 ℌ ℕ ™ ℃ ª º|¹²³ 〡〢 ᛮ 𐅀 ⓪
\u00a0nbsp\u00a0 a\u00a0b|a\u0085b|a\u2028b\u2029c|a\u3000b|a\u1680b\u2000c\u200ad\u202fe\u205ff|a\u200bb \u200b|a\u200cb\u200dc\u2060d|\ufeffbom|a\u180eb|a\u00adb \u00ad
\ta\tb\t|a\nb\r\nc\x0bd\x0ce|\x01\x02 a\x1fb \x1c\x1d\x7f|\x1b[31mred\x1b[0m|\u0080\u009f|\ufffd \ufffc \ufffe \uffff \U0010ffff|\ue000\uf8ff\U000f0000
“quotes” ‘single’ it’s don’t «a» „b“ …|— – ‐ ― − · • ※ † ‡ § ¶|€ £ ¥ ₹ ₿ ¢ ¤|× ÷ ± ≠ ≤ ∞ ∑ √ π µ μ|← → ⇒ ↔ ■ ★ ♥ ♫ ✓|¡Hola! ¿Qué? ｆｕｌｌ！
\u08d2\u0301 a\u08d2\u0301 a\u0301\u08d2|a\u1dfa\u0323 e\u0898\u0301 \U00011935\U00011930 \U00011938|\U00010d24\u0323 \U0001e2ae\u0301|\U0002ebf0\U00031350\u1c89\ua7cb\ua7dc\U00010d50 \U00010d40 \U00016ea0""".replace("\n", "|").split("|")
PARTS = [p.encode("latin-1", "backslashreplace").decode("unicode_escape") for p in PARTS]

BYTES = [  # wrong UTF-8: each longest start of a character is one U+FFFD, as in errors="replace"
    b"a\x80b", b"\xff\xfe", b"\xc3", b"caf\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82x", b"\xe2\x28\xa1", b"\xf0\x9f\x98",
    b"\xf0\x9f\x98a\xf0\x9f", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xed\xa0\x80",
    b"\xed\xbf\xbf x", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"a\xe9t\xe9", b"\xc3!\xc3\xa9!",
]


def texts():
    out = [b"", b" ", b"   ", b"\t\n", "\u3000\u00a0".encode()]
    out += [t.encode() for t in PLAIN + PARTS] + BYTES
    out += [f"a picture of {p}, {p.upper()}".encode() for p in PARTS]
    out += [("word " * n).encode() for n in (29, 30, 31, 74, 75, 76, 200)]
    out += [b"x" * 500, b"ab" * 300, b"1" * 100, b"!" * 90, "é".encode() * 100, "e\u0301".encode() * 90, "漢".encode() * 80]
    out += [("a" + "\u0323\u0301\u0315" * 40).encode(), ("<|endoftext|>" * 80).encode(), ("'s" * 60).encode()]
    chance = random.Random(20)
    pieces = PARTS + PLAIN[:12] + [BOS, EOS, "'s", "'LL", "!", "\u0301", "\u0323", "\u11a7", "\u200b", "<new>", "ab", "Z"]
    for _ in range(120):
        text = "".join(chance.choice(pieces)[-chance.randint(1, 9):] + chance.choice(["", " "]) for _ in range(chance.randint(2, 9)))
        out.append(text.encode())
    return list(dict.fromkeys(out + scripts()))


# What stands together in a text of many scripts: first and last character.
BLOCKS = """20-7e 20-7e a0-ff 100-24f 250-36f 370-3ff 400-52f 590-5ff 600-6ff 900-97f 980-dff e00-eff f00-fff
1000-109f 1100-11ff 1200-139f 13a0-13ff 1780-18af 1ab0-1aff 1c80-1cff 1d00-1dff 1e00-1fff 2000-206f 2070-20ff
2100-218f 2190-2bff 2c00-2dff 2e80-2fff 3000-30ff 3130-318f 3200-33ff 4e00-4fff a640-a8ff a960-abff ac00-d7a3
e000-e0ff f900-faff fb00-fdff fe00-fe6f fe70-ffff 10000-1005f 10100-103ff 10400-104ff 10800-10fff 11000-11fff
16e00-16fff 1d100-1d1ff 1d400-1d7ff 1e000-1efff 1f000-1faff e0000-e007f e0100-e01ef 1-1f 7f-9f"""
JOINED = ["\u200d", "\ufe0f", "\u20e3", "\u0301", "\u0323", "\U0001f3fd", "\U0001f468\u200d\U0001f467", "&amp;", "'s", "'T",
          "!", BOS, EOS, EOS.upper(), "\ufeff", "\u00ad", "Photo", "<new>"]


def scripts():
    """Random characters of a few blocks, in any normal form and case, some with wrong bytes."""
    chance = random.Random(61)
    blocks = [[int(end, 16) for end in block.split("-")] for block in BLOCKS.split()]
    out = []
    for _ in range(240):
        some = chance.sample(blocks, 3)
        text = "".join(chance.choice([" ", *JOINED]) if chance.random() < 0.3 else chr(chance.randint(*chance.choice(some)))
                       for _ in range(chance.randint(1, 16)))
        text = unicodedata.normalize(chance.choice(["NFC", "NFD", "NFKC", "NFKD"]), text) if chance.random() < 0.2 else text
        text = chance.choice([text, text, text.upper(), text.lower(), text.title()]).encode()
        at = chance.randint(0, len(text))
        out.append(text if chance.random() < 0.9 else text[:at] + bytes([chance.randint(0x80, 0xff)]) + text[at + 1:])
    return out


def write_ids(folder, path, prompts):
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    length = min(tokenizer.model_max_length, 77)
    plain = [p.decode("utf-8", "replace") for p in prompts]
    padded = tokenizer(plain, padding="max_length", truncation=True, max_length=length).input_ids
    with open(path, "w") as f:
        for whole, ids in zip(tokenizer(plain).input_ids, padded):
            used = min(len(whole), length)
            assert ids[used:] == [tokenizer.pad_token_id] * (length - used)
            print(f"{len(whole) - used}:", *ids[:used], file=f)


def main():
    merges = (HERE / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    prompts = texts()
    (HERE / "prompts.txt").write_text("".join(escape(p) + "\n" for p in prompts))
    (HERE / "emoji").mkdir(exist_ok=True)
    write_ids(EMOJI, HERE / "emoji" / "ids.txt", prompts)
    for name, files in VARIANTS.items():
        (HERE / name).mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "vocab.json").write_text(json.dumps(vocabulary(merges)))
            shutil.copy(HERE / "merges.txt", folder)
            for file, content in files.items():
                text = json.dumps(content, indent=1) + "\n"
                (HERE / name / file).write_text(text)
                (folder / file).write_text(text)
            write_ids(folder, HERE / name / "ids.txt", prompts)
    print(len(prompts), "texts")


if __name__ == "__main__":
    main()
