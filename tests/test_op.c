/* test_op.c - every public operator against torch, in f32 (tests/gen/ops.py makes the values), and
 * products in bf16. */
#include "core/dtype.h"
#include "op_case.h"

#include <math.h>

static dfx_value *linear(void)
{
    return dfx_linear(in("x"), constant("weight"), constant("bias"));
}

static dfx_value *linear_vector(void)
{
    return dfx_linear(in("x"), constant("weight"), NULL);
}

static dfx_value *conv2d(void)
{
    dfx_conv2d_options o = DFX_CONV2D_DEFAULT;
    o.top = o.left = o.bottom = o.right = 1;
    return dfx_conv2d(in("x"), constant("weight"), constant("bias"), &o);
}

static dfx_value *conv2d_1x1(void)
{
    return dfx_conv2d(in("x"), constant("weight"), NULL, NULL);
}

static dfx_value *conv2d_stride(void)
{
    dfx_conv2d_options o = DFX_CONV2D_DEFAULT;
    o.stride = 2;
    o.bottom = o.right = 1;
    return dfx_conv2d(in("x"), constant("weight"), constant("bias"), &o);
}

static dfx_value *conv2d_dilation(void)
{
    dfx_conv2d_options o = { .stride = 1, .dilation = 2, .groups = 1, 3, 0, 1, 2, 0, 0 };
    return dfx_conv2d(in("x"), constant("weight"), constant("bias"), &o);
}

static dfx_value *conv2d_groups(void)
{
    dfx_conv2d_options o = { .stride = 1, .dilation = 1, .groups = 4, 1, 1, 1, 1, 0, 0 };
    return dfx_conv2d(in("x"), constant("weight"), constant("bias"), &o);
}

static dfx_value *conv2d_depthwise(void)
{
    dfx_conv2d_options o = { .stride = 2, .dilation = 1, .groups = 31, 2, 2, 2, 2, 0, 0 };
    return dfx_conv2d(in("x"), constant("weight"), constant("bias"), &o);
}

static dfx_value *linear_then(void)
{
    return dfx_linear_then(in("x"), constant("weight"), constant("bias"),
                           &(dfx_epilogue){ in("channels"), DFX_SILU, in("add") });
}

/* By one call where values and gates begin with a panel each, else by three. */
static dfx_value *linear_geglu(void)
{
    return dfx_linear_then(in("x"), constant("weight"), constant("bias"),
                           &(dfx_epilogue){ NULL, DFX_GEGLU, in("add") });
}

static dfx_value *conv2d_then(void)
{
    dfx_conv2d_options o = { .stride = 1, .dilation = 1, .groups = 1, 1, 1, 1, 1, 11, 13 };
    return dfx_conv2d_then(in("x"), constant("weight"), constant("bias"), &o,
                           &(dfx_epilogue){ in("channels"), DFX_GELU, in("add") });
}

static dfx_value *conv2d_groups_then(void)
{
    dfx_conv2d_options o = { .stride = 1, .dilation = 1, .groups = 4, 1, 1, 1, 1, 12, 10 };
    return dfx_conv2d_then(in("x"), constant("weight"), NULL, &o,
                           &(dfx_epilogue){ NULL, DFX_QUICK_GELU, in("add") });
}

static dfx_value *attention(void)
{
    return dfx_attention(in("q"), in("k"), in("v"), 2, 1.0f / sqrtf(20), 0);
}

static dfx_value *attention_cross(void)
{
    return dfx_attention(in("q"), in("k"), in("v"), 1, 1.0f / sqrtf(40), 0);
}

static dfx_value *attention_causal(void)
{
    return dfx_attention(in("q"), in("k"), in("v"), 4, 0.25f, 1);
}

static dfx_value *matmul(void)
{
    return dfx_matmul(in("a"), in("b"), 1, 0, 0.125f);
}

static dfx_value *matmul_transposed(void)
{
    return dfx_matmul(in("a"), in("b"), 1, 1, 0.125f);
}

static dfx_value *matmul_one_b(void)
{
    return dfx_matmul(in("a"), in("b"), 1, 0, 1);
}

static dfx_value *matmul_scores(void)
{
    return dfx_matmul(in("a"), in("b"), 3, 1, 0.25f);
}

static dfx_value *matmul_values(void)
{
    return dfx_matmul(in("a"), in("b"), 3, 0, 1);
}

static dfx_value *matmul_scores_one_b(void)
{
    return dfx_matmul(in("a"), in("b"), 2, 1, -0.5f);
}

static dfx_value *matmul_values_one_b(void)
{
    return dfx_matmul(in("a"), in("b"), 2, 0, -0.5f);
}

static dfx_value *group_norm(void)
{
    return dfx_group_norm(in("x"), constant("scale"), constant("shift"), 4, 1e-5f);
}

static dfx_value *group_norm_plain(void)
{
    return dfx_group_norm(in("x"), NULL, NULL, 32, 1e-6f);
}

static dfx_value *group_norm_then(void)
{
    dfx_value *x = in("x"), *scale = constant("scale"), *shift = constant("shift");
    return dfx_group_norm_then(x, scale, shift, 4, 1e-5f, in("by"), DFX_SILU);
}

static dfx_value *layer_norm(void)
{
    return dfx_layer_norm(in("x"), constant("scale"), constant("shift"), 1e-5f);
}

static dfx_value *layer_norm_plain(void)
{
    return dfx_layer_norm(in("x"), NULL, NULL, 1e-6f);
}

static dfx_value *silu(void)
{
    return dfx_silu(in("x"));
}

static dfx_value *gelu(void)
{
    return dfx_gelu(in("x"));
}

static dfx_value *quick_gelu(void)
{
    return dfx_quick_gelu(in("x"));
}

static dfx_value *mish(void)
{
    return dfx_mish(in("x"));
}

static dfx_value *relu(void)
{
    return dfx_relu(in("x"));
}

static dfx_value *geglu(void)
{
    return dfx_geglu(in("x"));
}

static dfx_value *add(void)
{
    return dfx_add(in("a"), in("b"));
}

static dfx_value *add_channels(void)
{
    return dfx_add_channels(in("a"), in("b"));
}

static dfx_value *scale(void)
{
    return dfx_scale(in("a"), 0.18215f, -1.5f);
}

static dfx_value *concat(void)
{
    return dfx_concat(in("a"), in("b"));
}

static dfx_value *slice_first(void)
{
    return dfx_slice(in("a"), 0, 1, 1);
}

static dfx_value *slice_middle(void)
{
    return dfx_slice(in("a"), 2, 1, 3);
}

static dfx_value *slice_last(void)
{
    return dfx_slice(in("a"), 3, 2, 5);
}

static dfx_value *upsample_double(void)
{
    return dfx_upsample_nearest(in("x"), 10, 14);
}

static dfx_value *upsample_odd(void)
{
    return dfx_upsample_nearest(in("x"), 13, 11);
}

static dfx_value *bilinear_double(void)
{
    return dfx_upsample_bilinear(in("x"), 10, 12, 1);
}

static dfx_value *bilinear_odd(void)
{
    return dfx_upsample_bilinear(in("x"), 9, 5, 0);
}

static dfx_value *bilinear_one(void)
{
    return dfx_upsample_bilinear(in("x"), 1, 1, 1);
}

static dfx_value *max_pool2d(void)
{
    return dfx_max_pool2d(in("x"), &(dfx_max_pool2d_options){ 3, 2, 1, 0, 2, 1 });
}

static dfx_value *max_pool2d_default(void)
{
    dfx_max_pool2d_options o = DFX_MAX_POOL2D_DEFAULT;
    return dfx_max_pool2d(in("x"), &o);
}

static dfx_value *tanh_of(void)
{
    return dfx_tanh(in("x"));
}

static dfx_value *blend(void)
{
    return dfx_blend(in("a"), in("b"), in("mask"));
}

static dfx_value *blend_zero(void)
{
    return dfx_blend(in("a"), NULL, in("mask"));
}

static dfx_value *vector_quantize(void)
{
    return dfx_vector_quantize(in("x"), constant("codebook"));
}

static dfx_value *resample_box(void)
{
    dfx_resample_options o = DFX_RESAMPLE_DEFAULT;
    o.down = 2;
    return dfx_resample(in("x"), &o);
}

static dfx_value *resample_down(void)
{
    return dfx_resample(in("x"), &(dfx_resample_options){ DFX_BINOMIAL, 1, 2, 1, 1, 0 });
}

static dfx_value *resample_up(void)
{
    return dfx_resample(in("x"), &(dfx_resample_options){ DFX_BINOMIAL, 2, 1, 2, 1, 0 });
}

static dfx_value *resample_down_reflect(void)
{
    return dfx_resample(in("x"), &(dfx_resample_options){ DFX_BINOMIAL, 1, 2, 1, 1, 1 });
}

static dfx_value *resample_up_reflect(void)
{
    return dfx_resample(in("x"), &(dfx_resample_options){ DFX_BINOMIAL, 2, 1, 2, 1, 1 });
}

static dfx_value *resample_filter(void)
{
    return dfx_resample(in("x"), &(dfx_resample_options){ DFX_BINOMIAL, 1, 1, 2, 1, 0 });
}

static dfx_value *divide(void)
{
    return dfx_divide(in("a"), in("t"));
}

static dfx_value *embedding(void)
{
    return dfx_embedding(in("ids"), constant("table"));
}

static dfx_value *timestep_sd(void)
{
    return dfx_timestep_embedding(in("t"), 32, 1, 0.0f);
}

static dfx_value *timestep_ddpm(void)
{
    return dfx_timestep_embedding(in("t"), 32, 0, 1.0f);
}

static dfx_value *fourier(void)
{
    return dfx_fourier_embedding(in("t"), constant("frequency"), 0, 1);
}

static dfx_value *fourier_log(void)
{
    return dfx_fourier_embedding(in("t"), constant("frequency"), 1, 0);
}

/* There and back, with a change of shape that costs nothing. */
static dfx_value *cast_reshape(void)
{
    dfx_value *a = in("a");
    int64_t n = dfx_value_spec(a)->dim[0] * dfx_value_spec(a)->dim[1];
    const dfx_spec *s = dfx_value_spec(a);
    dfx_value *flat = dfx_reshape(a, 3, (int64_t[]){ n, s->dim[2], s->dim[3] });
    dfx_value *b = dfx_cast(dfx_cast(dfx_scale(flat, 0.18215f, -1.5f), DFX_BF16), DFX_F32);
    return dfx_reshape(b, 4, s->dim);
}

/* Errors are multiples of the result's largest magnitude; 0: exact. */
static const struct test {
    const char *name, *from; /* `from` lends another case's values */
    dfx_value *(*record)(void);
    double tolerance;
} tests[] = {
    { "linear", NULL, linear, 1e-6 },
    { "linear_vector", NULL, linear_vector, 2e-6 },
    { "conv2d", NULL, conv2d, 2e-6 }, /* by Winograd too */
    { "conv2d_1x1", NULL, conv2d_1x1, 1e-6 },
    { "conv2d_stride", NULL, conv2d_stride, 1e-6 },
    { "conv2d_dilation", NULL, conv2d_dilation, 1e-6 },
    { "conv2d_groups", NULL, conv2d_groups, 1e-6 },
    { "conv2d_depthwise", NULL, conv2d_depthwise, 1e-6 },
    { "linear_then", NULL, linear_then, 1e-6 },
    { "linear_geglu", NULL, linear_geglu, 1e-6 },
    { "linear_geglu_odd", NULL, linear_geglu, 1e-6 },
    { "conv2d_then", NULL, conv2d_then, 2e-6 },
    { "conv2d_groups_then", NULL, conv2d_groups_then, 1e-6 },
    { "matmul", NULL, matmul, 1e-6 },
    { "matmul_transposed", NULL, matmul_transposed, 1e-6 },
    { "matmul_one_b", NULL, matmul_one_b, 1e-6 },
    { "matmul_scores", NULL, matmul_scores, 1e-6 },
    { "matmul_values", NULL, matmul_values, 1e-6 },
    { "matmul_scores_one_b", NULL, matmul_scores_one_b, 1e-6 },
    { "matmul_values_one_b", NULL, matmul_values_one_b, 1e-6 },
    { "attention", NULL, attention, 2e-6 },
    { "attention_cross", NULL, attention_cross, 2e-6 },
    { "attention_causal", NULL, attention_causal, 2e-6 },
    { "group_norm", NULL, group_norm, 2e-6 },
    { "group_norm_plain", NULL, group_norm_plain, 4e-6 },
    { "group_norm_then", NULL, group_norm_then, 2e-6 },
    { "layer_norm", NULL, layer_norm, 2e-6 },
    { "layer_norm_plain", NULL, layer_norm_plain, 2e-6 },
    { "silu", NULL, silu, 1e-6 },
    { "gelu", NULL, gelu, 1e-6 },
    { "quick_gelu", NULL, quick_gelu, 1e-6 },
    { "mish", NULL, mish, 1e-6 },
    { "relu", NULL, relu, 0 },
    { "geglu", NULL, geglu, 1e-6 },
    { "add", NULL, add, 0 },
    { "add_repeated", NULL, add, 0 },
    { "add_channels", NULL, add_channels, 0 },
    { "scale", NULL, scale, 2e-7 },
    { "divide", NULL, divide, 2e-7 },
    { "cast_reshape", "scale", cast_reshape, 4e-3 },
    { "concat", NULL, concat, 0 },
    { "slice_first", NULL, slice_first, 0 },
    { "slice_middle", NULL, slice_middle, 0 },
    { "slice_last", NULL, slice_last, 0 },
    { "upsample_double", NULL, upsample_double, 0 },
    { "upsample_odd", NULL, upsample_odd, 0 },
    { "bilinear_double", NULL, bilinear_double, 1e-6 },
    { "bilinear_odd", NULL, bilinear_odd, 1e-6 },
    { "bilinear_one", NULL, bilinear_one, 1e-6 },
    { "max_pool2d", NULL, max_pool2d, 0 },
    { "max_pool2d_default", NULL, max_pool2d_default, 0 },
    { "tanh", NULL, tanh_of, 1e-6 },
    { "blend", NULL, blend, 1e-6 },
    { "blend_zero", NULL, blend_zero, 1e-6 },
    { "vector_quantize", NULL, vector_quantize, 1e-6 },
    { "resample_box", NULL, resample_box, 1e-6 },
    { "resample_down", NULL, resample_down, 1e-6 },
    { "resample_up", NULL, resample_up, 1e-6 },
    { "resample_down_reflect", NULL, resample_down_reflect, 1e-6 },
    { "resample_up_reflect", NULL, resample_up_reflect, 1e-6 },
    { "resample_filter", NULL, resample_filter, 1e-6 },
    { "embedding", NULL, embedding, 0 },
    { "timestep_sd", NULL, timestep_sd, 4e-5 },
    { "timestep_ddpm", NULL, timestep_ddpm, 4e-5 },
    { "fourier", NULL, fourier, 2e-6 },
    { "fourier_log", NULL, fourier_log, 2e-6 },
};
enum { TESTS = sizeof tests / sizeof *tests, PRODUCTS = 20 }; /* the first ones */

/* In bf16 both factors are rounded by up to 2^-9 each, the result once more. */
static const double bf16_tolerance = 3 * 0x1p-9;

/* The largest difference as a part of the largest magnitude; NaN counts as infinite. */
static double error_of(const float *got, const dfx_tensor *want)
{
    const float *w = want->data;
    double worst = 0, largest = 0;
    for (size_t i = 0; i < want->bytes / sizeof *w; i++) {
        double e = fabs((double)got[i] - w[i]);
        if (!(e <= worst))
            worst = isnan(e) ? INFINITY : e;
        largest = fmax(largest, fabs(w[i]));
    }
    return worst / largest;
}

/* Runs the recorded case and compares its result, y. */
static dfx_status run(double *error, dfx_value *y)
{
    const dfx_tensor *want = find("y");
    dfx_status status;
    dfx_output(now.dtype == DFX_F32 ? y : dfx_cast(y, DFX_F32), "y");
    if ((status = dfx_sequence_prepare(now.sequence)) != DFX_OK)
        return status;
    const dfx_spec *s = dfx_value_spec(y);
    *error = INFINITY;
    if (s->rank != want->spec.rank ||
        memcmp(s->dim, want->spec.dim, (size_t)s->rank * sizeof *s->dim))
        return DFX_OK;
    for (int i = 0; i < now.inputs && status == DFX_OK; i++)
        status = dfx_sequence_write(now.sequence, now.input[i]->name, now.input[i]->data,
                                    now.input[i]->bytes);
    float *got = malloc(want->bytes);
    if (status == DFX_OK)
        status = dfx_sequence_run(now.sequence);
    if (status == DFX_OK)
        status = dfx_sequence_read(now.sequence, "y", got, want->bytes);
    if (status == DFX_OK)
        *error = error_of(got, want);
    free(got);
    return status;
}

static void test_device(const char *name, dfx_dtype dtype, int count)
{
    dfx_device *device;
    if (dfx_device_open(&device, name) != DFX_OK) {
        skip(dfx_error(), "operators on %s", name);
        return;
    }
    for (const struct test *t = tests; t < tests + count; t++) {
        double error = INFINITY, tolerance = dtype == DFX_F32 ? t->tolerance : bf16_tolerance;
        begin(t->from ? t->from : t->name, device, dtype);
        dfx_status status = run(&error, t->record());
        ok(status == DFX_OK && error <= tolerance, "%s in %s on %s: error %.2g (%s)", t->name,
           dfx_dtype_name(dtype), name, error, status == DFX_OK ? "torch" : dfx_error());
        dfx_sequence_free(now.sequence);
    }
    dfx_device_free(device);
}

/* Every way there is to multiply, on the same values. */
static void test_variants(void)
{
    const char *names[] = { "conv2d:winograd,matmul:plain",
                            "linear:tiled_small,conv2d:tiled_small,matmul:tiled_small",
                            "linear:direct,conv2d:direct,matmul:tiled",
                            "linear:clblast,conv2d:clblast,matmul:clblast" };
    for (int i = 0; i < 4; i++) {
        setenv("DFX_VARIANT", names[i], 1);
        printf("# DFX_VARIANT=%s\n", names[i]);
        test_device("opencl", DFX_F32, PRODUCTS);
        if (i == 0)
            test_device("cpu", DFX_F32, PRODUCTS);
    }
    unsetenv("DFX_VARIANT");
}

/* A result with the weight in a dtype of the file. */
static dfx_status multiply_narrow(float *to, size_t bytes, dfx_device *device, dfx_dtype dtype,
                                  const void *weight, int is_conv)
{
    begin(is_conv ? "conv2d_then" : "linear_geglu", device, DFX_F32);
    dfx_weight narrow = { .name = "weight", .spec = find("weight")->spec, .data = weight };
    narrow.spec.dtype = dtype;
    dfx_value *x = in("x"), *w = dfx_constant(now.sequence, &narrow);
    dfx_epilogue then = { NULL, is_conv ? DFX_SILU : DFX_GEGLU, NULL };
    dfx_output(is_conv ? dfx_conv2d_then(x, w, NULL, NULL, &then)
                       : dfx_linear_then(x, w, NULL, &then),
               "y");
    dfx_status status = dfx_sequence_prepare(now.sequence);
    if (status == DFX_OK)
        status = dfx_sequence_write(now.sequence, now.input[0]->name, now.input[0]->data,
                                    now.input[0]->bytes);
    if (status == DFX_OK)
        status = dfx_sequence_run(now.sequence);
    if (status == DFX_OK)
        status = dfx_sequence_read(now.sequence, "y", to, bytes);
    dfx_sequence_free(now.sequence);
    return status;
}

/* f32 results do not depend on whether the weight lies on the device in the file's f16 or bf16. */
static void test_narrow_weights(const char *name)
{
    enum { MOST = 1 << 13 };
    static uint16_t half[MOST];
    static float wide[MOST], y[2][MOST];
    dfx_device *device;
    if (dfx_device_open(&device, name) != DFX_OK) {
        skip(dfx_error(), "narrow weights on %s", name);
        return;
    }
    for (int is_conv = 0; is_conv < 2; is_conv++)
        for (dfx_dtype dtype = DFX_F16; dtype <= DFX_BF16; dtype++) {
            now.name = is_conv ? "conv2d_then" : "linear_geglu";
            const dfx_tensor *w = find("weight");
            size_t n = w->bytes / sizeof(float),
                   bytes = (is_conv ? 2 * 3 * 5 * 33 : 2 * 7 * 64) * 4;
            dfx__from_f32(half, dtype, w->data, n);
            dfx__to_f32(wide, half, dtype, n);
            dfx_status first = multiply_narrow(y[0], bytes, device, dtype, half, is_conv);
            dfx_status second = multiply_narrow(y[1], bytes, device, DFX_F32, wide, is_conv);
            ok(first == DFX_OK && second == DFX_OK && memcmp(y[0], y[1], bytes) == 0,
               "%s on %s: a weight kept in %s gives the bits of f32", now.name, name,
               dfx_dtype_name(dtype));
        }
    dfx_device_free(device);
}

int main(void)
{
    if (dfx_tensors_open(&file, data("ops.safetensors")) != DFX_OK) {
        printf("Bail out! %s\n", dfx_error());
        return 99;
    }
    test_device("cpu", DFX_F32, TESTS);
    test_device("opencl", DFX_F32, TESTS);
    test_device("cpu", DFX_BF16, PRODUCTS);
    test_device("opencl", DFX_BF16, PRODUCTS);
    test_variants();
    test_narrow_weights("cpu");
    test_narrow_weights("opencl");
    dfx_tensors_free(file);
    return done();
}
