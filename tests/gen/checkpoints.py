"""Makes tests/data/checkpoints: files that torch.save and huggingface_hub write, with their tensors in
expected.safetensors, and in bad/ files with one fault each, and the README that says which."""

import collections
import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import sys
import tempfile
import types
import warnings
import zipfile

import numpy
import torch
from huggingface_hub import export_folder_as_dduf
from safetensors.torch import save_file

TOP = pathlib.Path(__file__).resolve().parent.parent / "data"
HERE = TOP / "checkpoints"
BAD = HERE / "bad"
DATE = (1980, 1, 1, 0, 0, 0)


# --- good files


def foreign_class(module, name):
    """A class that is not there when the file is read, such as a callback of Lightning's."""
    parts = module.split(".")
    for i in range(len(parts)):
        path = ".".join(parts[: i + 1])
        sys.modules.setdefault(path, types.ModuleType(path))
    made = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def tensors():
    values = torch.arange(24.0)
    state = collections.OrderedDict()
    state["block.weight"] = values[:12].reshape(3, 4)
    state["block.bias"] = values[12:15].clone()
    state["tied"] = state["block.weight"]
    state["part"] = values[5:9]  # of the storage of the first
    state["transposed"] = values[:6].reshape(2, 3).t()
    state["every_second"] = values[::2]
    state["channels_last"] = values.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    state["position_ids"] = torch.arange(7).expand(1, -1)
    state["scalar"] = torch.tensor(3.5)
    state["empty"] = torch.zeros(0, 4)
    state["parameter"] = torch.nn.Parameter(values[:3].clone())
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
        state["types." + str(dtype)[6:]] = (values[:5] - 1).abs().to(dtype)
    return state


def lightning(state):
    """What pytorch_lightning and latent diffusion write around the weights."""
    callback = foreign_class("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    kept = callback()
    kept.best_model_score, kept.array, kept.config = torch.ones(2), numpy.zeros(3), {"a": [1, (2,)]}
    return {
        "epoch": 3,
        "global_step": numpy.int64(1 << 40),
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {callback: kept},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]}],
        "lr_schedulers": [],
        "large": 1 << 100,
        "negative": -7,
        "sets": [{1, 2}, frozenset([3]), b"bytes", bytearray(b"array")],
        "torch": [torch.float16, torch.device("cpu"), torch.Size([2, 3])],
        "state_dict": state,
    }


class Command:
    """What a harmful checkpoint does where pickle.load runs it."""

    def __reduce__(self):
        return os.system, ("touch dfx-pickle-was-run",)


def deflate(path, to):
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(zipfile.ZipInfo(entry.filename, DATE), source.read(entry), zipfile.ZIP_DEFLATED)


PARTS = {
    "text_encoder": (TOP / "models" / "text_old_eos", ["transformers", "CLIPTextModel"]),
    "tokenizer": (TOP / "tiny_xl" / "tokenizer", ["transformers", "CLIPTokenizer"]),
    "scheduler": (TOP / "tiny" / "scheduler", ["diffusers", "DDIMScheduler"]),
}


def export_dduf():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        index = {"_class_name": "PartsPipeline"} | {part: class_name for part, (_, class_name) in PARTS.items()}
        (folder / "model_index.json").write_text(json.dumps(index))
        for part, (source, _) in PARTS.items():
            shutil.copytree(source, folder / part)
        export_folder_as_dduf(HERE / "parts.dduf", folder)


def make_good():
    state = tensors()
    save_file({k: v.detach().contiguous().clone() for k, v in state.items()}, HERE / "expected.safetensors")
    (HERE / "expected.safetensors").chmod(0o644)
    for protocol in (2, 5):
        torch.save(lightning(state), HERE / f"lightning{protocol}.ckpt", pickle_protocol=protocol)
    torch.save(state, HERE / "plain.bin")
    torch.save(lightning(state), HERE / "old.ckpt", _use_new_zipfile_serialization=False)
    torch.save({"model": {"a": {"b": state["block.bias"]}}, "step": 4}, HERE / "nested.pth")
    torch.save({"command": Command(), "state_dict": state, "again": [Command()]}, HERE / "command.ckpt")
    deflate(HERE / "plain.bin", HERE / "deflated.pt")
    export_dduf()


# --- bad files: pickles by hand


def text(s):
    s = s.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(s)) + s


def integer(n):
    return b"\x8a\x09" + n.to_bytes(9, "little", signed=True) if abs(n) >= 1 << 62 else b"\x8a\x08" + n.to_bytes(8, "little", signed=True)


def name(module, function):
    return b"c" + f"{module}\n{function}\n".encode()


def many(parts):
    return b"(" + b"".join(parts) + b"t"


def storage(key="0", kind="FloatStorage", count=2):
    return many([text("storage"), name("torch", kind), text(key), text("cpu"), integer(count)]) + b"Q"


def call(function, *arguments):
    return function + many(arguments) + b"R"


def tensor(of=None, offset=0, shape=(2,), stride=None, function=("torch._utils", "_rebuild_tensor_v2")):
    stride = (1,) * len(shape) if stride is None else stride
    ordered = name("collections", "OrderedDict") + b")R"
    return call(name(*function), of or storage(), integer(offset), many(map(integer, shape)), many(map(integer, stride)), b"\x89", ordered)


def top(**items):
    return b"\x80\x02}(" + b"".join(text(k) + v for k, v in items.items()) + b"u."


COMMAND = call(name("os", "system"), text("touch dfx-pickle-was-run"))


def archive(pkl, data=bytes(8), more=(), method=zipfile.ZIP_STORED):
    return packed([("x/data.pkl", pkl), ("x/data/0", data), *more], method)


def packed(entries, method=zipfile.ZIP_STORED):
    to = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(to, "w") as z:
        warnings.simplefilter("ignore")  # a name twice
        for path, content in entries:
            z.writestr(zipfile.ZipInfo(path, DATE), content, method)
    return to.getvalue()


def change(data, at, to, central=True):
    """Writes into the first record of the directory, `at` bytes from its beginning."""
    begin = data.index(b"PK\1\2") + at if central else at
    return data[:begin] + to + data[begin + len(to) :]


def laughs():
    p = b"\x80\x02}q\x00"
    for i in range(28):
        p += b"}(" + text("a") + b"h" + bytes([i]) + text("b") + b"h" + bytes([i]) + b"uq" + bytes([i + 1])
    return p + b"."


def overlapping():
    """An entry whose data is the local header of the next."""
    inner = packed([("x/data/0", bytes(8))])
    outer = packed([("x/data/1", inner[: inner.index(b"PK\1\2")])])
    at = outer.index(b"PK\1\2")
    one, two = outer[at : outer.index(b"PK\5\6")], inner[inner.index(b"PK\1\2") : inner.index(b"PK\5\6")]
    two = two[:42] + struct.pack("<I", 30 + len("x/data/1")) + two[46:]
    return outer[:at] + one + two + b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 2, 2, len(one + two), at, 0)


MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."


def old(pkl=None, keys=b"\x80\x02](" + text("0") + b"e.", data=struct.pack("<Q", 2) + bytes(8), little=b"\x88"):
    return MAGIC + b"\x80\x02}(" + text("little_endian") + little + b"u." + (pkl or top(a=tensor())) + keys + data


A = top(a=tensor())
TORCH = {
    "pickle_empty": ("a pickle without a byte", archive(b"")),
    "pickle_cut": ("a pickle that ends within a tensor", archive(A[:100])),
    "pickle_newer": ("a pickle of protocol 6", archive(b"\x80\x06}.")),
    "pickle_operation": ("an operation that pickle does not have", archive(b"\x80\x02\xff.")),
    "pickle_text": ("an operation of protocol 0", archive(b"\x80\x02S'a'\n.")),
    "pickle_stack": ("a call without function and arguments", archive(b"\x80\x02R.")),
    "pickle_mark": ("a tuple without its beginning", archive(b"\x80\x02Nt.")),
    "pickle_pairs": ("a dict of three items", archive(b"\x80\x02}(NNNu.")),
    "pickle_item": ("an item put into a number", archive(b"\x80\x02K\x01NNs.")),
    "pickle_memo": ("place 7 of a memo with none", archive(b"\x80\x02h\x07.")),
    "pickle_far": ("place 2^31 of a memo", archive(b"\x80\x02Nr\x00\x00\x00\x80.")),
    "pickle_long": ("a text of 2^63 bytes", archive(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 63) + b"a.")),
    "pickle_itself": ("a dict that holds itself", archive(b"\x80\x02}q\x00X\x01\0\0\0ah\x00s.")),
    "pickle_laughs": ("28 dicts, each with the one before twice: 2^28 ways to an end", archive(laughs())),
    "command": ("os.system in place of a checkpoint", archive(b"\x80\x02" + COMMAND + b".")),
    "command_storage": ("os.system in place of a storage", archive(top(a=tensor(COMMAND)))),
    "command_tensor": ("a class that is not torch's gets a storage", archive(top(a=call(name("evil", "rebuild"), storage())))),
    "module": ("an object of a class, not its weights", archive(b"\x80\x02" + name("torch.nn.modules.linear", "Linear") + b")\x81}b.")),
    "list": ("a list of tensors", archive(b"\x80\x02](" + tensor() + b"e.")),
    "sparse": ("a sparse tensor", archive(top(a=call(name("torch._utils", "_rebuild_sparse_tensor"), many([tensor(), tensor()]))))),
    "type": ("a storage of complex numbers", archive(top(a=tensor(storage(kind="ComplexFloatStorage"))))),
    "rank": ("6 dimensions, dfxcl reads 5", archive(top(a=tensor(shape=(1,) * 6)))),
    "shape_large": ("shape [2^61, 4]", archive(top(a=tensor(shape=(1 << 61, 4))))),
    "shape_huge": ("shape [2^62]", archive(top(a=tensor(shape=(1 << 62,))))),
    "shape_negative": ("shape [-2]", archive(top(a=tensor(shape=(-2,))))),
    "shape_beyond": ("shape [3] of a storage of 2", archive(top(a=tensor(shape=(3,))))),
    "stride_count": ("2 strides for 1 dimension", archive(top(a=tensor(stride=(1, 1))))),
    "stride_beyond": ("stride 2^61, so that the second element is 2^63 bytes away", archive(top(a=tensor(stride=(1 << 61,))))),
    "offset_beyond": ("offset 1 and shape [2] in a storage of 2", archive(top(a=tensor(offset=1)))),
    "offset_huge": ("offset 2^62", archive(top(a=tensor(offset=1 << 62)))),
    "offset_negative": ("offset -1", archive(top(a=tensor(offset=-1)))),
    "expanded": ("2^40 elements of stride 0", archive(top(a=tensor(shape=(1 << 40,), stride=(0,))))),
    "copies": ("9 tensors that are copies of the whole storage", archive(top(**{f"t{i}": tensor(shape=(2, 2), stride=(1, 2), of=storage(count=4)) for i in range(9)}), bytes(16))),
    "storage_missing": ("storage 1, which is not there", archive(top(a=tensor(storage("1"))))),
    "storage_short": ("a storage of 2 elements in 4 bytes", archive(A, bytes(4))),
    "storage_count": ("a storage that says it has 1 element", archive(top(a=tensor(storage(count=1))))),
    "name_zero": ("a zero byte in a name", archive(top(**{"a\0b": tensor()}))),
    "name_surrogate": ("a name that is not UTF-8", archive(top(**{"a\ud800": tensor()}))),
    "name_long": ("a name of 2000 bytes", archive(top(**{"a" * 2000: tensor()}))),
    "name_twice": ("a.b, and b in a", archive(top(**{"a.b": tensor(), "a": b"}" + text("b") + tensor() + b"s"}))),
    "big_endian": ("numbers in big-endian order", archive(A, more=[("x/byteorder", b"big")])),
    "script": ("a program of TorchScript", archive(A, more=[("x/constants.pkl", b"\x80\x02).")])),
    "no_pickle": ("a ZIP archive without data.pkl", packed([("x/data/0", bytes(8))])),
    "zip_cut": ("an archive without its end", archive(A)[:-30]),
    "zip_empty": ("an archive without entries", packed([])),
    "zip_directory": ("a directory beyond the archive", archive(A)[:-6] + struct.pack("<IH", 1 << 20, 0)),
    "zip_record": ("a record of the directory without its mark", change(archive(A), 0, b"PKxx")),
    "zip_method": ("an entry packed by bzip2", archive(A, method=zipfile.ZIP_BZIP2)),
    "zip_encrypted": ("an encrypted entry", change(archive(A), 8, b"\1")),
    "zip_place": ("an entry that is elsewhere", change(archive(A), 42, struct.pack("<I", 3))),
    "zip_name": ("an entry with another name where it lies", change(archive(A), 31, b"y", central=False)),
    "zip_beyond": ("an entry larger than the archive", change(archive(A), 20, struct.pack("<II", 1 << 20, 1 << 20))),
    "zip_sizes": ("a stored entry of two sizes", change(archive(A), 24, struct.pack("<I", 1 << 30))),
    "zip_ratio": ("a deflated entry that would be 2^30 bytes", change(archive(A, method=zipfile.ZIP_DEFLATED), 24, struct.pack("<I", 1 << 30))),
    "zip_larger": ("a deflated entry that says it has a byte more", change(archive(A, method=zipfile.ZIP_DEFLATED), 24, struct.pack("<I", len(A) + 1))),
    "zip_damaged": ("a deflated entry whose sum is wrong", change(archive(A, method=zipfile.ZIP_DEFLATED), 16, bytes(4))),
    "zip_twice": ("an entry that is there twice", archive(A, more=[("x/data/0", bytes(8))])),
    "zip_overlap": ("an entry within another", overlapping()),
    "old_not": ("a pickle that torch.save did not write", pickle.dumps({"a": 1, "b": [2, 3]}, 2)),
    "old_big_endian": ("an old file of a big-endian machine", old(little=b"\x89")),
    "old_cut": ("an old file that ends within a storage", old()[:-1]),
    "old_large": ("an old file with a storage of 2^61 elements", old(data=struct.pack("<Q", 1 << 61) + bytes(8))),
    "old_keys": ("an old file without the list of its storages", old(keys=b"\x80\x02}.")),
    "old_type": ("an old file with a storage that no tensor is of", old(keys=b"\x80\x02](" + text("9") + b"e.")),
    "old_twice": ("an old file with a storage twice", old(keys=b"\x80\x02](" + text("0") * 2 + b"e.", data=2 * (struct.pack("<Q", 2) + bytes(8)))),
    "tar": ("a tar archive, as torch wrote at first", bytes(257) + b"ustar" + bytes(400)),
}

INDEX = ("model_index.json", b'{"_class_name": "P", "unet": ["diffusers", "U"]}')
CONFIG = ("unet/config.json", b"{}")
DDUF = {
    "no_index": ("no model_index.json", packed([CONFIG])),
    "index": ("a model_index.json that is a list", packed([("model_index.json", b"[]")])),
    "deflated": ("an entry that is compressed", packed([INDEX, CONFIG], zipfile.ZIP_DEFLATED)),
    "upwards": ("a name that leaves the archive", packed([INDEX, ("../x.json", b"{}")])),
    "absolute": ("an absolute name", packed([INDEX, ("/x.json", b"{}")])),
    "backslash": ("a name with a backslash", packed([INDEX, ("unet\\x.json", b"{}")])),
    "deep": ("a folder within a folder", packed([INDEX, CONFIG, ("unet/a/x.json", b"{}")])),
    "extension": ("a .bin file", packed([INDEX, CONFIG, ("unet/x.bin", b"")])),
    "folder": ("a folder that the index does not have", packed([INDEX, ("vae/config.json", b"{}")])),
    "no_config": ("a folder without a config", packed([INDEX, ("unet/x.safetensors", b"")])),
    "no_zip": ("text, no archive", b"no archive, but a text that is long enough"),
    "pointer": ("a Git LFS pointer in place of the file", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
}


def make_bad():
    lines = ["Files that must be refused, made by tests/gen/checkpoints.py: .pt by dfx_tensors_open, .dduf by", "dfx_checkpoint_open.", ""]
    for ending, files in ((".pt", TORCH), (".dduf", DDUF)):
        for file, (wrong, data) in files.items():
            (BAD / (file + ending)).write_bytes(data)
            lines.append(f"{file + ending:22s} {wrong}")
    (BAD / "README").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    shutil.rmtree(HERE, ignore_errors=True)
    BAD.mkdir(parents=True)
    make_good()
    make_bad()
