/* dfxcl/op.h - operators: each appends one call to the sequence of its inputs.
 *
 * Activations are channels-last: [N, H, W, C] for images, [N, T, C] for tokens; C is contiguous.
 * Any float type is taken, results have the type of `x`, sums are kept in f32. An operator returns
 * a new value; it is bad if the shapes do not fit, and the sequence keeps the reason. */
#ifndef DFXCL_OP_H
#define DFXCL_OP_H

#include "dfxcl/sequence.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = x W^T + b.   x [..., in]   weight [out, in], a constant   bias [out] or NULL -> [..., out] */
DFX_API dfx_value *dfx_linear(dfx_value *x, dfx_value *weight, dfx_value *bias);

typedef enum { DFX_IDENTITY, DFX_SILU, DFX_GELU, DFX_QUICK_GELU, DFX_GEGLU } dfx_activation;

/* What a linear layer or a convolution does with its sums before it stores them, where it is given:
 *   y = activation(x W^T + b + channels) + add
 * All of it in f32: one rounding and no pass over memory for each of the parts. */
typedef struct {
    dfx_value *channels; /* [N, out], repeated over the pixels or tokens of each image; NULL */
    dfx_activation activation; /* DFX_IDENTITY; DFX_GEGLU halves the outputs, as dfx_geglu, and is
                                  for linear layers */
    dfx_value *add;            /* of the result's shape; NULL */
} dfx_epilogue;
#define DFX_EPILOGUE_DEFAULT                                                                       \
    {                                                                                              \
        NULL, DFX_IDENTITY, NULL                                                                   \
    }
DFX_API dfx_value *dfx_linear_then(dfx_value *x, dfx_value *weight, dfx_value *bias,
                                   const dfx_epilogue *then);

/* How dfx_conv2d samples; start from DFX_CONV2D_DEFAULT. */
typedef struct {
    int stride;                   /* 1 */
    int dilation;                 /* 1 */
    int groups;                   /* 1 */
    int top, left, bottom, right; /* pixels of zeros around x; 0 */
    int height, width;            /* x is resized to them first, as by dfx_upsample_nearest, and the
                                     result is not stored; 0: as x is */
} dfx_conv2d_options;
#define DFX_CONV2D_DEFAULT                                                                         \
    {                                                                                              \
        1, 1, 1, 0, 0, 0, 0, 0, 0                                                                  \
    }

/* Convolution (cross-correlation, as torch.nn.Conv2d).
 *   x [N, H, W, in]   weight [out, in/groups, kh, kw], a constant   bias [out] or NULL
 * -> [N, (H + top + bottom - dilation (kh-1) - 1) / stride + 1, likewise W, out] */
DFX_API dfx_value *dfx_conv2d(dfx_value *x, dfx_value *weight, dfx_value *bias,
                              const dfx_conv2d_options *options);
DFX_API dfx_value *dfx_conv2d_then(dfx_value *x, dfx_value *weight, dfx_value *bias,
                                   const dfx_conv2d_options *options, const dfx_epilogue *then);

/* softmax(scale q k^T) v for each head, with online softmax: the score matrix is never stored
 * (Milakov & Gimelshein 2018; Dao et al. 2022).
 *   q [N, T, C]   k, v [N, S, C]   heads divides C   scale: usually 1/sqrt(C/heads)
 *   causal: token t attends to tokens 0..t only; T must equal S
 * -> [N, T, C] */
DFX_API dfx_value *dfx_attention(dfx_value *q, dfx_value *k, dfx_value *v, int heads, float scale,
                                 int causal);

/* Products of two computed values, for each image n and head h:
 *   y[n, m, h, o] = scale sum over k of a[n, h, m, k] b[n, k, h, o]   (weights times values)
 *   y[n, h, m, o] = scale sum over k of a[n, m, h, k] b[n, o, h, k]   (transpose_b: q k^T)
 * One head has no dimension of its own; beside channels several are slices of them, as in
 * dfx_attention.
 *   heads 1   a [N, M, K]          b [N, K, O], transposed [N, O, K]   -> [N, M, O]
 *   more      a [N, heads, M, K]   b [N, K, heads O]                   -> [N, M, heads O]
 *             a [N, M, heads K]    b [N, O, heads K], transposed       -> [N, heads, M, O]
 * b has a's type; one image of b is used for all of a. For a weight dfx_linear is faster. */
DFX_API dfx_value *dfx_matmul(dfx_value *a, dfx_value *b, int heads, int transpose_b, float scale);

/* Normalise groups of channels to mean 0 and variance 1, then scale and shift (Wu & He 2018).
 *   x      [N, H, W, C] or [N, T, C]
 *   scale  [C] or NULL for 1        shift  [C] or NULL for 0
 *   groups divides C                eps    added to the variance
 * -> x's shape */
DFX_API dfx_value *dfx_group_norm(dfx_value *x, dfx_value *scale, dfx_value *shift, int groups,
                                  float eps);

/* dfx_silu of dfx_group_norm, with one pass over memory less. */
DFX_API dfx_value *dfx_group_norm_silu(dfx_value *x, dfx_value *scale, dfx_value *shift, int groups,
                                       float eps);

/* dfx_group_norm, then each image's own scale and shift, (1 + s) y + t (Perez et al. 2018), then an
 * activation, with no pass over memory more.
 *   by [N, 2C] of x's type: s, then t; or NULL      activation: DFX_IDENTITY or DFX_SILU */
DFX_API dfx_value *dfx_group_norm_then(dfx_value *x, dfx_value *scale, dfx_value *shift, int groups,
                                       float eps, dfx_value *by, dfx_activation activation);

/* Normalise the last dimension (Ba et al. 2016). x [..., C], scale and shift [C] or NULL. */
DFX_API dfx_value *dfx_layer_norm(dfx_value *x, dfx_value *scale, dfx_value *shift, float eps);

DFX_API dfx_value *dfx_silu(dfx_value *x);       /* x sigmoid(x) */
DFX_API dfx_value *dfx_gelu(dfx_value *x);       /* x Phi(x), exact (erf) */
DFX_API dfx_value *dfx_quick_gelu(dfx_value *x); /* x sigmoid(1.702 x) */
DFX_API dfx_value *dfx_mish(dfx_value *x);       /* x tanh(ln(1 + e^x)) (Misra 2019) */
DFX_API dfx_value *dfx_relu(dfx_value *x);       /* max(x, 0) */
DFX_API dfx_value *dfx_tanh(dfx_value *x);

/* x [..., 2C] -> [..., C]: the first half times gelu (erf) of the second (Shazeer 2020). */
DFX_API dfx_value *dfx_geglu(dfx_value *x);

/* a + b. b has a's shape, or a's last dimensions (it is repeated over the leading ones). */
DFX_API dfx_value *dfx_add(dfx_value *a, dfx_value *b);

/* x [N, ..., C] + t [N, C], repeated over the dimensions between. */
DFX_API dfx_value *dfx_add_channels(dfx_value *x, dfx_value *t);

/* factor x + offset */
DFX_API dfx_value *dfx_scale(dfx_value *x, float factor, float offset);

/* x [N, ...] / t [N] f32: each image by its number */
DFX_API dfx_value *dfx_divide(dfx_value *x, dfx_value *t);

/* a m + b (1 - m), with one number of mask [..., 1] for all channels of a and b [..., C].
 *   b NULL for 0; all of one type */
DFX_API dfx_value *dfx_blend(dfx_value *a, dfx_value *b, dfx_value *mask);

/* Joins along the last dimension: a [..., A], b [..., B] -> [..., A + B] */
DFX_API dfx_value *dfx_concat(dfx_value *a, dfx_value *b);

/* `count` entries from `start` of the dimension `axis` (0 is the first). */
DFX_API dfx_value *dfx_slice(dfx_value *x, int axis, int64_t start, int64_t count);

/* Nearest-neighbour resizing, x [N, H, W, C] -> [N, height, width, C]; the source of row y is
 * floor(y H / height), as torch's "nearest". */
DFX_API dfx_value *dfx_upsample_nearest(dfx_value *x, int64_t height, int64_t width);

/* Bilinear resizing, x [N, H, W, C] -> [N, height, width, C], as torch's "bilinear". align_corners:
 * the outermost pixels keep their places; else the outermost edges do, and no more than four pixels
 * count where the image shrinks. */
DFX_API dfx_value *dfx_upsample_bilinear(dfx_value *x, int64_t height, int64_t width,
                                         int align_corners);

/* How dfx_max_pool2d samples; start from DFX_MAX_POOL2D_DEFAULT. */
typedef struct {
    int kernel, stride;           /* 2, 2 */
    int top, left, bottom, right; /* pixels of zeros around x; 0 */
} dfx_max_pool2d_options;
#define DFX_MAX_POOL2D_DEFAULT                                                                     \
    {                                                                                              \
        2, 2, 0, 0, 0, 0                                                                           \
    }

/* The largest number of each channel in a square window of x [N, H, W, C]
 * -> [N, (H + top + bottom - kernel) / stride + 1, likewise W, C]. Zeros around x take part, unlike
 * torch.nn.MaxPool2d's padding; of numbers that are not negative both are the same. */
DFX_API dfx_value *dfx_max_pool2d(dfx_value *x, const dfx_max_pool2d_options *options);

typedef enum {
    DFX_BOX,     /* [1 1] / 2 */
    DFX_BINOMIAL /* [1 3 3 1] / 8 */
} dfx_filter;

/* How dfx_resample works, on both axes; start from DFX_RESAMPLE_DEFAULT. */
typedef struct {
    dfx_filter filter;
    int up;   /* up - 1 zeros go between two pixels, and the filter is up times as strong; 1 */
    int down; /* every down-th result is kept; 1 */
    int before, after; /* numbers around what is filtered: zeros, or */
    int reflect;       /* x reflected at its outermost pixels (each at least 2 pixels wide then) */
} dfx_resample_options;
#define DFX_RESAMPLE_DEFAULT                                                                       \
    {                                                                                              \
        DFX_BOX, 1, 1, 0, 0, 0                                                                     \
    }

/* Up-sampling, filtering and down-sampling (upfirdn2d of Karras et al. 2020) of x [N, H, W, C]
 * -> [N, (up H + before + after - taps) / down + 1, likewise W, C]. A box with down 2 is torch's
 * avg_pool2d of 2x2. */
DFX_API dfx_value *dfx_resample(dfx_value *x, const dfx_resample_options *options);

/* Rows of a table: ids [..., T] i32, table [V, C], a constant -> [..., T, C]. Ids must be in
 * 0..V-1; others give zeros. */
DFX_API dfx_value *dfx_embedding(dfx_value *ids, dfx_value *table);

/* The nearest row of a codebook, by Euclidean distance, for each vector of x (van den Oord et al.
 * 2017); of rows that are equally near the first.
 *   x [..., C], C up to 256   codebook [V, C], a constant   -> x's shape
 * Distances are rounded as torch.cdist rounds them, so that both choose the same rows. */
DFX_API dfx_value *dfx_vector_quantize(dfx_value *x, dfx_value *codebook);

/* Sinusoids of a position (Vaswani et al. 2017, as diffusers' get_timestep_embedding).
 *   t [N] f32   dim even   flip: cosines first   shift: downscale_freq_shift
 * -> [N, dim] f32, entry i of a half at frequency exp(-ln(10000) i / (dim/2 - shift)) */
DFX_API dfx_value *dfx_timestep_embedding(dfx_value *t, int dim, int flip, float shift);

/* Sinusoids at the frequencies of a model's file (Tancik et al. 2020, as diffusers'
 * GaussianFourierProjection).
 *   t [N] f32   frequency [F] in turns, a constant   log: of log(t)   flip: cosines first
 * -> [N, 2 F] f32 */
DFX_API dfx_value *dfx_fourier_embedding(dfx_value *t, dfx_value *frequency, int log, int flip);

/* x in another float type; x itself when it has that type. */
DFX_API dfx_value *dfx_cast(dfx_value *x, dfx_dtype dtype);

/* The same memory with another shape of as many elements. Costs nothing. */
DFX_API dfx_value *dfx_reshape(dfx_value *x, int rank, const int64_t *dim);

#ifdef __cplusplus
}
#endif
#endif
