"""Makes tests/data/ops.safetensors: inputs and results of every operator, computed by torch and,
for the timestep embedding, diffusers. Images are channels-last, as in the library; weights are as torch
keeps them. A case NAME has its result as NAME.y."""

import pathlib

import torch
import torch.nn.functional as F
from diffusers.models.downsampling import KDownsample2D, downsample_2d
from diffusers.models.embeddings import GaussianFourierProjection, get_timestep_embedding
from diffusers.models.upsampling import KUpsample2D, upfirdn2d_native, upsample_2d
from safetensors.torch import save_file

FILE = pathlib.Path(__file__).resolve().parent.parent / "data" / "ops.safetensors"
tensors = {}


def random(*shape):
    return torch.randn(shape)


def case(name, y, **inputs):
    for key, value in {**inputs, "y": y}.items():
        if value is not None:
            tensors[f"{name}.{key}"] = value.contiguous().clone()


def linear(name, shape, out, bias=True):
    x, w = random(*shape), random(out, shape[-1])
    b = random(out) if bias else None
    case(name, F.linear(x, w, b), x=x, weight=w, bias=b)


def conv2d(name, shape, out, kernel, stride=1, dilation=1, groups=1, pad=(0, 0, 0, 0), bias=True):
    """pad: top, left, bottom, right"""
    x, w = random(*shape), random(out, shape[3] // groups, *kernel)
    b = random(out) if bias else None
    top, left, bottom, right = pad
    padded = F.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    y = F.conv2d(padded, w, b, stride=stride, dilation=dilation, groups=groups)
    case(name, y.permute(0, 2, 3, 1), x=x, weight=w, bias=b)


def attention(name, n, t, s, c, heads, causal=False):
    q, k, v = random(n, t, c), random(n, s, c), random(n, s, c)
    split = [m.unflatten(2, (heads, c // heads)).transpose(1, 2) for m in (q, k, v)]
    y = F.scaled_dot_product_attention(*split, is_causal=causal)
    case(name, y.transpose(1, 2).flatten(2), q=q, k=k, v=v)


def matmul(name, n, m, k, o, heads=1, transposed=False, batch=None, scale=1.0):
    """batch: of b. Heads are slices of the channels of what is multiplied by rows, and of the result."""
    batch = batch or n
    a = random(n, heads, m, k)
    b = random(batch, heads, o if transposed else k, k if transposed else o)
    y = scale * (a.double() @ (b.mT if transposed else b).double()).float()

    def joined(v):
        return v.transpose(1, 2).flatten(2)

    def apart(v):
        return v if heads > 1 else v[:, 0]

    if transposed:
        case(name, apart(y), a=joined(a), b=joined(b))
    else:
        case(name, joined(y), a=apart(a), b=joined(b))


def norms():
    x, scale, shift = random(2, 5, 3, 12) * 3 + 1, random(12), random(12)
    y = F.group_norm(x.permute(0, 3, 1, 2), 4, scale, shift, 1e-5)
    case("group_norm", y.permute(0, 2, 3, 1), x=x, scale=scale, shift=shift)
    x = random(2, 7, 64) + 4
    y = F.group_norm(x.transpose(1, 2), 32, eps=1e-6).transpose(1, 2)
    case("group_norm_plain", y, x=x)
    x, scale, shift = random(2, 3, 77) * 2 - 1, random(77), random(77)
    case("layer_norm", F.layer_norm(x, [77], scale, shift, 1e-5), x=x, scale=scale, shift=shift)
    case("layer_norm_plain", F.layer_norm(x, [77], eps=1e-6), x=x)


def pointwise():
    x = random(2, 17, 17) * 4
    x[..., 15], x[..., 16] = -30, 100
    case("silu", F.silu(x), x=x)
    case("gelu", F.gelu(x), x=x)
    case("quick_gelu", x * torch.sigmoid(1.702 * x), x=x)
    x = random(2, 5, 62) * 3
    hidden, gate = x.chunk(2, dim=-1)
    case("geglu", hidden * F.gelu(gate), x=x)
    a, b = random(2, 5, 3, 17), random(2, 5, 3, 17)
    case("add", a + b, a=a, b=b)
    case("add_repeated", a + b[0, 0], a=a, b=b[0, 0])
    case("add_channels", a + b[:, :1, :1], a=a, b=b[:, 0, 0])
    case("scale", a * 0.18215 - 1.5, a=a)


def shapes():
    a, b = random(2, 3, 5, 7), random(2, 3, 5, 33)
    case("concat", torch.cat([a, b], 3), a=a, b=b)
    case("slice_first", a[1:], a=a)
    case("slice_middle", a[:, :, 1:4], a=a)
    case("slice_last", a[..., 2:7], a=a)
    x = random(2, 5, 7, 3).permute(0, 3, 1, 2)
    for name, size in {"upsample_double": (10, 14), "upsample_odd": (13, 11)}.items():
        y = F.interpolate(x, size=size, mode="nearest")
        case(name, y.permute(0, 2, 3, 1), x=x.permute(0, 2, 3, 1))


def embeddings():
    ids, table = torch.randint(0, 31, (2, 7), dtype=torch.int32), random(31, 20)
    case("embedding", F.embedding(ids.long(), table), ids=ids, table=table)
    t = torch.tensor([0.0, 1.0, 832.5, 999.0])
    for name, flip, shift in (("timestep_sd", True, 0), ("timestep_ddpm", False, 1)):
        case(name, get_timestep_embedding(t, 32, flip, shift), t=t)


def fused():
    """Products with what follows them; channels [N, out], one line an image."""
    x, w, b, channels = random(2, 9, 77), random(33, 77), random(33), random(2, 33)
    add = random(2, 9, 33)
    w /= 9
    y = F.silu(F.linear(x, w, b) + channels[:, None]) + add
    case("linear_then", y, x=x, weight=w, bias=b, channels=channels, add=add)
    for name, out in {"linear_geglu": 64, "linear_geglu_odd": 35}.items():
        x, w, b, add = random(2, 7, 40), random(2 * out, 40) / 6, random(2 * out), random(2, 7, out)
        hidden, gate = F.linear(x, w, b).chunk(2, dim=-1)
        case(name, hidden * F.gelu(gate) + add, x=x, weight=w, bias=b, add=add)
    x, w, b, channels = random(2, 5, 7, 16), random(33, 16, 3, 3) / 12, random(33), random(2, 33)
    add = random(2, 11, 13, 33)
    resized = F.interpolate(x.permute(0, 3, 1, 2), size=(11, 13), mode="nearest")
    y = F.conv2d(resized, w, b, padding=1) + channels[:, :, None, None]
    y = F.gelu(y).permute(0, 2, 3, 1) + add
    case("conv2d_then", y, x=x, weight=w, bias=b, channels=channels, add=add)
    x, w, add = random(1, 6, 5, 12), random(8, 3, 3, 3) / 5, random(1, 12, 10, 8)
    resized = F.interpolate(x.permute(0, 3, 1, 2), size=(12, 10), mode="nearest")
    y = F.conv2d(resized, w, padding=1, groups=4).permute(0, 2, 3, 1)
    case("conv2d_groups_then", y * torch.sigmoid(1.702 * y) + add, x=x, weight=w, add=add)


def resampled():
    """Added last, so that the values above stay as they were."""
    x = random(2, 5, 8, 7)
    nchw = x.permute(0, 3, 1, 2)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(taps, taps)
    results = {
        "resample_box": F.avg_pool2d(nchw, 2),
        "resample_down": downsample_2d(nchw, kernel=(1, 3, 3, 1)),
        "resample_up": upsample_2d(nchw, kernel=(1, 3, 3, 1)),
        "resample_down_reflect": KDownsample2D()(nchw),
        "resample_up_reflect": KUpsample2D()(nchw),
        "resample_filter": upfirdn2d_native(nchw, kernel, pad=(2, 1)),
    }
    for name, y in results.items():
        case(name, y.permute(0, 2, 3, 1), x=x)


def modulated():
    x, scale, shift = random(2, 5, 3, 12) * 3 + 1, random(12), random(12)
    by = random(2, 24)
    y = F.group_norm(x.permute(0, 3, 1, 2), 4, scale, shift, 1e-5)
    factor, offset = by[:, :, None, None].chunk(2, dim=1)
    y = y * (1 + factor) + offset
    case("group_norm_then", F.silu(y).permute(0, 2, 3, 1), x=x, scale=scale, shift=shift, by=by)
    x = random(2, 17, 17) * 4
    x[..., 14], x[..., 15], x[..., 16] = -90, -30, 100
    case("mish", F.mish(x), x=x)
    case("relu", F.relu(x), x=x)


def score_models():
    """What NCSN++ has and other UNets have not."""
    a, t = random(2, 5, 3, 17), torch.tensor([0.01, 378.0])
    case("divide", a / t[:, None, None, None], a=a, t=t)
    t = torch.tensor([0.01, 0.3, 0.98, 1.1, 1.7, 17.0, 378.25, 1347.0])
    assert (torch.log(t) == torch.log(t.double()).float()).all()  # 2% of torch's are one unit off
    for name, log in {"fourier": False, "fourier_log": True}.items():
        embedding = GaussianFourierProjection(33, scale=16 if log else 1, log=log,
                                              flip_sin_to_cos=not log)
        case(name, embedding(t).detach(), t=t, frequency=embedding.weight.data)


def autoencoders():
    """The operators of TAESD, VQ-VAEs and asymmetric autoencoders."""
    x = random(2, 17, 17) * 4
    case("tanh", torch.tanh(x), x=x)
    a, b, mask = random(2, 5, 3, 19), random(2, 5, 3, 19), torch.rand(2, 5, 3, 1)
    case("blend", a * mask + b * (1 - mask), a=a, b=b, mask=mask)
    case("blend_zero", a * mask, a=a, mask=mask)
    x, codebook = random(2, 9, 7, 3), random(512, 3)
    codebook[300:310] = codebook[:10]  # the first of two that are equally near
    rows = torch.cdist(x.view(-1, 3), codebook).argmin(1)
    case("vector_quantize", codebook[rows].view_as(x), x=x, codebook=codebook)


def depth_estimators():
    """What DPT and its backbone BiT have."""
    x = random(2, 5, 6, 5)
    nchw = x.permute(0, 3, 1, 2)
    for name, size, align in (("bilinear_double", (10, 12), True), ("bilinear_odd", (9, 5), False),
                              ("bilinear_one", (1, 1), True)):
        y = F.interpolate(nchw, size=size, mode="bilinear", align_corners=align)
        case(name, y.permute(0, 2, 3, 1), x=x)
    y = F.max_pool2d(F.pad(nchw, (0, 1, 1, 2)), 3, 2)
    case("max_pool2d", y.permute(0, 2, 3, 1), x=x)
    case("max_pool2d_default", F.max_pool2d(nchw, 2).permute(0, 2, 3, 1), x=x)


torch.manual_seed(0)
linear("linear", (2, 17, 77), 33)
linear("linear_vector", (1, 96), 33, bias=False)
conv2d("conv2d", (1, 9, 7, 16), 33, (3, 3), pad=(1, 1, 1, 1))
conv2d("conv2d_1x1", (2, 5, 3, 31), 32, (1, 1), bias=False)
conv2d("conv2d_stride", (1, 11, 14, 3), 17, (3, 3), stride=2, pad=(0, 0, 1, 1))
conv2d("conv2d_dilation", (1, 9, 8, 8), 9, (3, 2), dilation=2, pad=(3, 0, 1, 2))
conv2d("conv2d_groups", (2, 6, 5, 12), 8, (3, 3), groups=4, pad=(1, 1, 1, 1))
conv2d("conv2d_depthwise", (1, 7, 7, 31), 31, (5, 5), stride=2, groups=31, pad=(2, 2, 2, 2))
attention("attention", 2, 35, 35, 40, 2)
attention("attention_cross", 1, 17, 77, 40, 1)
attention("attention_causal", 1, 19, 19, 64, 4, causal=True)
norms()
pointwise()
shapes()
embeddings()
fused()
matmul("matmul", 2, 19, 43, 33, scale=0.125)
matmul("matmul_transposed", 2, 19, 43, 33, transposed=True, scale=0.125)
matmul("matmul_one_b", 3, 17, 24, 36, batch=1)
matmul("matmul_scores", 2, 19, 20, 35, heads=3, transposed=True, scale=0.25)
matmul("matmul_values", 2, 19, 35, 20, heads=3)
matmul("matmul_scores_one_b", 2, 9, 15, 13, heads=2, transposed=True, batch=1, scale=-0.5)
matmul("matmul_values_one_b", 2, 9, 13, 15, heads=2, batch=1, scale=-0.5)
resampled()
modulated()
score_models()
autoencoders()
depth_estimators()
save_file(tensors, FILE)
