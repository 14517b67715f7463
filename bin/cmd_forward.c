/* cmd_forward.c - dfx forward: one component on given tensors. */
#include "cmd.h"
#include "output.h"

#include <stdio.h>
#include <string.h>

struct settings {
    const char *model, *in, *out, *device, *dtype;
};

static const struct settings defaults;

#define AT(field) offsetof(struct settings, field)
static const struct option options[] = {
    { "model", OPTION_STRING, AT(model), "MODEL/COMPONENT",
      "the component of a model, as generate takes those", 0, 0 },
    { "in", OPTION_STRING, AT(in), "IN.safetensors",
      "its inputs:\n"
      "unet: sample [B,C,H,W], timestep [B],\n"
      "    encoder_hidden_states [B,T,D]\n"
      "vae: sample [B,3,H,W] in -1..1 to encode, or\n"
      "    latent [B,C,h,w] to decode, of an asymmetric one\n"
      "    with image [B,3,H,W] and mask [B,1,H,W] too\n"
      "text_encoder: input_ids [B,T], i64 or i32\n"
      "depth_estimator: pixel_values [B,3,H,W]",
      0, 0 },
    { "out", OPTION_STRING, AT(out), "OUT.safetensors",
      "its results:\n"
      "unet: sample; vae: latent_mean and latent_logvar,\n"
      "    or sample (no scaling factor is applied)\n"
      "text_encoder: last_hidden_state, hidden_states.-2\n"
      "depth_estimator: predicted_depth",
      0, 0 },
    { "device", OPTION_STRING, AT(device), "D", "cpu, opencl, opencl:N or auto (DFX_DEVICE)", 0,
      0 },
    { "dtype", OPTION_STRING, AT(dtype), "T", "f32, f16, bf16 or auto: f32 (DFX_DTYPE)", 0, 0 },
    { .name = NULL },
};
#undef AT

static const struct positional positionals[] = { { .name = NULL } };

static int parse_dtype(dfx_dtype *out, const char *name)
{
    *out = DFX_F32;
    if (!name || strcmp(name, "auto") == 0)
        return EXIT_DONE;
    if (dfx_dtype_parse(out, name) == DFX_OK && *out <= DFX_BF16)
        return EXIT_DONE;
    return cmd_fail_with(EXIT_USAGE, "--dtype: \"%s\" must be f32, f16, bf16 or auto", name);
}

static dfx_status compute(dfx_tensors *out, const struct settings *s, dfx_dtype dtype)
{
    dfx_tensors *in = NULL;
    dfx_model *model = NULL;
    dfx_device *device = NULL;
    dfx_status status = dfx_tensors_open(&in, s->in);
    if (status == DFX_OK)
        status = dfx_device_open(&device, cmd_default(s->device, "DFX_DEVICE"));
    if (status == DFX_OK)
        status = dfx_model_open(&model, s->model);
    if (status == DFX_OK)
        status = dfx_model_forward(model, device, dtype, in, out);
    if (model && status == DFX_ERROR_ARGUMENT) /* a tensor of the file, not an option, is wrong */
        status = DFX_ERROR_FORMAT;
    dfx_model_free(model);
    dfx_device_free(device);
    dfx_tensors_free(in);
    return status;
}

static void print_tensors(const dfx_tensors *t)
{
    for (int i = 0; i < dfx_tensors_count(t); i++) {
        const dfx_tensor *tensor = dfx_tensors_at(t, i);
        printf("%s %s [", tensor->name, dfx_dtype_name(tensor->spec.dtype));
        for (int d = 0; d < tensor->spec.rank; d++)
            printf(d ? ", %lld" : "%lld", (long long)tensor->spec.dim[d]);
        puts("]");
    }
}

static int run(void *settings)
{
    const struct settings *s = settings;
    dfx_tensors *out;
    dfx_dtype dtype;
    if (!s->model || !s->in || !s->out)
        return cmd_fail_with(EXIT_USAGE, "--%s is missing; `dfx forward --help` shows the usage",
                             !s->model ? "model"
                             : !s->in  ? "in"
                                       : "out");
    int code = parse_dtype(&dtype, cmd_default(s->dtype, "DFX_DTYPE"));
    if (code == EXIT_DONE)
        code = output_check(s->out);
    if (code != EXIT_DONE)
        return code;
    dfx_status status = dfx_tensors_new(&out);
    if (status != DFX_OK)
        return cmd_fail(status);
    cmd_catch_interrupt();
    status = compute(out, s, dtype);
    int to_stdout = strcmp(s->out, "-") == 0;
    if (status == DFX_OK)
        status = dfx_tensors_save(out, to_stdout ? "/dev/stdout" : s->out);
    if (status != DFX_OK)
        code = cmd_fail(status);
    else if (!to_stdout)
        print_tensors(out);
    dfx_tensors_free(out);
    return code;
}

const struct command cmd_forward = {
    .name = "forward",
    .summary = "run one component of a model on given tensors",
    .example = "  dfx forward --model share/models/emoji/unet --in in.safetensors \\\n"
               "      --out out.safetensors\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
