/* cmd_convert.c - dfx convert: a model in another form. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

struct settings {
    const char *model, *to, *dtype, *variant, *from_variant;
    uint64_t shard_size;
};

static const struct settings defaults;

#define AT(member) offsetof(struct settings, member)

static const struct option options[] = {
    { "to", OPTION_STRING, AT(to), "DIR|FILE.safetensors",
      "what is written: a Diffusers folder, or one file in\n"
      "the original layout",
      0, 0 },
    { "dtype", OPTION_STRING, AT(dtype), "T", "f32, f16 or bf16 (each tensor's own)", 0, 0 },
    { "shard-size", OPTION_SIZE, AT(shard_size), "SIZE",
      "the largest weight file of a folder, \"2G\" (10 GB)", 0, 0 },
    { "variant", OPTION_STRING, AT(variant), "NAME",
      "for the names of a folder's weight files: fp16", 0, 0 },
    { "from-variant", OPTION_STRING, AT(from_variant), "NAME",
      "weight files of MODEL to read (plain ones, else fp16)", 0, 0 },
    { .name = NULL },
};

static const struct positional positionals[] = {
    { "MODEL", AT(model), 1,
      "a Diffusers folder or a component's, a DDUF file,\n"
      "or a checkpoint in the original layout" },
    { .name = NULL },
};

static int run(void *settings)
{
    const struct settings *s = settings;
    const dfx_convert_options o = { .dtype = s->dtype,
                                    .shard_size = s->shard_size,
                                    .variant = s->variant,
                                    .from_variant = s->from_variant };
    if (!s->to)
        return cmd_fail_with(EXIT_USAGE, "--to is missing; `dfx convert --help` shows the usage");
    if (s->dtype && strcmp(s->dtype, "f32") != 0 && strcmp(s->dtype, "f16") != 0 &&
        strcmp(s->dtype, "bf16") != 0)
        return cmd_fail_with(EXIT_USAGE, "--dtype: \"%s\" must be f32, f16 or bf16", s->dtype);
    cmd_catch_interrupt();
    dfx_status status = dfx_convert(s->model, s->to, &o);
    return status == DFX_OK ? EXIT_DONE : cmd_fail(status);
}

const struct command cmd_convert = {
    .name = "convert",
    .summary = "rewrite a model as a folder or one file, in another type",
    .example = "  dfx convert v1-5-pruned.safetensors --to stable-diffusion --dtype f16\n"
               "  dfx convert stable-diffusion --to sd.safetensors\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
