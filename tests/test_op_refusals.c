/* test_op_refusals.c - operators say what is wrong with a call that cannot be made. */
#include "op_case.h"

/* A call that cannot be made: the sequence keeps the reason, later calls do nothing. */
static void test_refusal(dfx_device *device, const char *name, dfx_value *(*record)(void),
                         const char *message)
{
    begin(name, device, DFX_F32);
    dfx_value *y = dfx_silu(record());
    ok(dfx_value_spec(y)->rank == 0, "%s: a wrong call has no result", name);
    ok(dfx_sequence_prepare(now.sequence) == DFX_ERROR_ARGUMENT && strstr(dfx_error(), message),
       "%s: %s", name, dfx_error());
    dfx_sequence_free(now.sequence);
}

/* The bias in place of x. */
static dfx_value *linear_misfit(void)
{
    return dfx_linear(in("bias"), constant("weight"), NULL);
}

static dfx_value *linear_no_constant(void)
{
    return dfx_linear(in("x"), in("weight"), NULL);
}

static dfx_value *conv2d_misfit(void)
{
    dfx_conv2d_options o = { .stride = 1, .dilation = 1, .groups = 2, 0, 0, 0, 0, 0, 0 };
    return dfx_conv2d(in("x"), constant("weight"), NULL, &o);
}

static dfx_value *conv2d_too_large(void)
{
    dfx_conv2d_options o = { .stride = 1, .dilation = 5, .groups = 1, 0, 0, 0, 0, 0, 0 };
    return dfx_conv2d(in("x"), constant("weight"), NULL, &o);
}

static dfx_value *conv2d_too_long(void)
{
    dfx_value *x =
        dfx_input(now.sequence, "long", DFX_F32, 4, (int64_t[]){ 1, (1 << 29) + 1, 1, 16 });
    return dfx_conv2d(x, constant("weight"), NULL, NULL);
}

static dfx_value *linear_too_wide(void)
{
    static dfx_weight wide = { .name = "wide", .spec = { DFX_F32, 2, { 1, INT32_MAX } } };
    return dfx_linear(in("x"), dfx_constant(now.sequence, &wide), NULL);
}

static dfx_value *conv2d_no_stride(void)
{
    dfx_conv2d_options o = { .stride = 0, .dilation = 1, .groups = 1, 0, 0, 0, 0, 0, 0 };
    return dfx_conv2d(in("x"), constant("weight"), NULL, &o);
}

/* The bias's line in place of channels for each image. */
static dfx_value *linear_wrong_channels(void)
{
    return dfx_linear_then(in("x"), constant("weight"), NULL,
                           &(dfx_epilogue){ .channels = in("bias") });
}

static dfx_value *linear_wrong_add(void)
{
    return dfx_linear_then(in("x"), constant("weight"), NULL, &(dfx_epilogue){ .add = in("bias") });
}

static dfx_value *linear_constant_add(void)
{
    return dfx_linear_then(in("x"), constant("weight"), NULL,
                           &(dfx_epilogue){ .add = constant("weight") });
}

static dfx_value *conv2d_geglu(void)
{
    return dfx_conv2d_then(in("x"), constant("weight"), NULL, NULL,
                           &(dfx_epilogue){ .activation = DFX_GEGLU });
}

static dfx_value *conv2d_half_size(void)
{
    dfx_conv2d_options o = DFX_CONV2D_DEFAULT;
    o.height = 18;
    return dfx_conv2d(in("x"), constant("weight"), NULL, &o);
}

/* Values apart from the channels where there is one head. */
static dfx_value *matmul_one_head(void)
{
    return dfx_matmul(in("a"), in("b"), 1, 0, 1);
}

static dfx_value *matmul_wrong_heads(void)
{
    return dfx_matmul(in("a"), in("b"), 7, 1, 1);
}

static dfx_value *matmul_no_heads(void)
{
    return dfx_matmul(in("a"), in("b"), 0, 1, 1);
}

static dfx_value *matmul_turned(void)
{
    return dfx_matmul(in("a"), in("b"), 1, 1, 1);
}

/* More of b than of a. */
static dfx_value *matmul_many_b(void)
{
    return dfx_matmul(in("b"), in("a"), 2, 1, 1);
}

static dfx_value *matmul_mixed(void)
{
    return dfx_matmul(in("a"), dfx_cast(in("b"), DFX_F16), 1, 0, 1);
}

static dfx_value *matmul_no_b(void)
{
    return dfx_matmul(in("a"), NULL, 1, 0, 1);
}

/* Half of what each image needs. */
static dfx_value *group_norm_wrong_by(void)
{
    return dfx_group_norm_then(in("x"), NULL, NULL, 4, 1e-5f, dfx_slice(in("by"), 1, 0, 12),
                               DFX_SILU);
}

static dfx_value *group_norm_gelu(void)
{
    return dfx_group_norm_then(in("x"), NULL, NULL, 4, 1e-5f, in("by"), DFX_GELU);
}

static dfx_value *resample_no_factor(void)
{
    return dfx_resample(in("x"), &(dfx_resample_options){ DFX_BINOMIAL, 1, 0, 1, 1, 0 });
}

static dfx_value *resample_reflect(void)
{
    dfx_value *line = dfx_slice(in("x"), 1, 0, 1);
    return dfx_resample(line, &(dfx_resample_options){ DFX_BINOMIAL, 2, 1, 2, 1, 1 });
}

static dfx_value *resample_small(void)
{
    dfx_value *line = dfx_slice(in("x"), 1, 0, 1);
    return dfx_resample(line, &(dfx_resample_options){ DFX_BOX, 1, 2, 0, 0, 0 });
}

static dfx_value *bilinear_no_size(void)
{
    return dfx_upsample_bilinear(in("x"), 4, 0, 1);
}

static dfx_value *pool_no_stride(void)
{
    return dfx_max_pool2d(in("x"), &(dfx_max_pool2d_options){ 3, 0, 0, 0, 0, 0 });
}

static dfx_value *pool_too_large(void)
{
    return dfx_max_pool2d(in("x"), &(dfx_max_pool2d_options){ 7, 1, 0, 0, 1, 1 });
}

int main(void)
{
    dfx_device *device;
    if (dfx_tensors_open(&file, data("ops.safetensors")) != DFX_OK ||
        dfx_device_open(&device, "cpu") != DFX_OK) {
        printf("Bail out! %s\n", dfx_error());
        return 99;
    }
    test_refusal(device, "linear", linear_misfit, "[33, 77] does not fit x [33]");
    test_refusal(device, "linear", linear_no_constant, "no constant");
    test_refusal(device, "conv2d", conv2d_misfit, "[33, 16, 3, 3] in 2 groups does not fit");
    test_refusal(device, "conv2d", conv2d_too_large, "larger than x [1, 9, 7, 16]");
    test_refusal(device, "conv2d", conv2d_too_long,
                 "536870913 x 1 is larger than 536870912 pixels");
    test_refusal(device, "linear", linear_too_wide, "weight is larger than kernels count");
    test_refusal(device, "conv2d", conv2d_no_stride, "stride 0");
    test_refusal(device, "linear", linear_wrong_channels, "channels is [33], [2, 33] is needed");
    test_refusal(device, "linear", linear_wrong_add, "add is [33], [2, 17, 33] is needed");
    test_refusal(device, "linear", linear_constant_add, "add must not be a constant");
    test_refusal(device, "conv2d", conv2d_geglu, "no activation");
    test_refusal(device, "conv2d", conv2d_half_size, "9 x 7 cannot be resized to 18 x 0");
    test_refusal(device, "matmul_values", matmul_one_head,
                 "a [2, 3, 19, 35] and b [2, 35, 60] are not [N, M, K] and [N or 1, K, C]");
    test_refusal(device, "matmul_scores", matmul_wrong_heads, "[N or 1, O, C] with 7 heads");
    test_refusal(device, "matmul_scores", matmul_no_heads, "0 heads");
    test_refusal(device, "matmul", matmul_turned, "a [2, 19, 43] and b [2, 43, 33] are not");
    test_refusal(device, "matmul_scores_one_b", matmul_many_b, "a [1, 13, 30] and b [2, 9, 30]");
    test_refusal(device, "matmul", matmul_mixed, "a is f32 and b f16");
    test_refusal(device, "matmul", matmul_no_b, "b must be given");
    test_refusal(device, "group_norm_then", group_norm_wrong_by, "[2, 12] and must be a computed");
    test_refusal(device, "group_norm_then", group_norm_gelu, "2 is no activation");
    test_refusal(device, "resample_up", resample_no_factor, "factors above 0");
    test_refusal(device, "resample_up", resample_reflect, "x [2, 1, 8, 7] is too small");
    test_refusal(device, "resample_up", resample_small, "x [2, 1, 8, 7] is too small");
    test_refusal(device, "bilinear_odd", bilinear_no_size, "cannot be resized to 4 x 0");
    test_refusal(device, "max_pool2d", pool_no_stride, "a kernel and a stride");
    test_refusal(device, "max_pool2d", pool_too_large, "[2, 5, 6, 5] is smaller than the kernel");
    dfx_device_free(device);
    dfx_tensors_free(file);
    return done();
}
