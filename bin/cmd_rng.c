/* cmd_rng.c - dfx rng: the noise that torch's CPU generator draws for a seed. */
#include "cmd.h"
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct option_uint64 seed;
    const char *shape, *out, *dtype;
};

static const struct settings defaults = { .dtype = "f32" };

#define AT(field) offsetof(struct settings, field)
static const struct option options[] = {
    { "seed", OPTION_UINT64, AT(seed), "S", "the generator's seed, from -2^63 to 2^64 - 1", 0, 0 },
    { "shape", OPTION_STRING, AT(shape), "1,4,8,8", "the tensor's shape", 0, 0 },
    { "out", OPTION_STRING, AT(out), "N.safetensors",
      "receives the tensor \"noise\"; - is standard output", 0, 0 },
    { "dtype", OPTION_STRING, AT(dtype), "f32|f16|bf16",
      "the type that torch draws in (default f32)", 0, 0 },
    { .name = NULL },
};
#undef AT

static const struct positional positionals[] = { { .name = NULL } };

/* Values in a tensor: 4 GiB of f32. */
#define MOST_VALUES ((int64_t)1 << 30)

static int parse_shape(dfx_spec *spec, size_t *count, const char *text)
{
    int64_t values = 1;
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        long long dim = strtoll(at, &end, 10);
        if (*at < '0' || *at > '9' || errno || dim < 1 || spec->rank == DFX_MAX_RANK ||
            (*end && *end != ','))
            return cmd_fail_with(EXIT_USAGE,
                                 "--shape: \"%s\" must be 1 to %d numbers from 1, like 1,4,8,8",
                                 text, DFX_MAX_RANK);
        if (dim > MOST_VALUES / values)
            return cmd_fail_with(EXIT_USAGE, "--shape: %s is more than %lld values", text,
                                 (long long)MOST_VALUES);
        values *= dim;
        spec->dim[spec->rank++] = dim;
        at = end;
        if (!*at)
            break;
    }
    *count = (size_t)values;
    return EXIT_DONE;
}

static dfx_status write_noise(const char *path, const dfx_spec *spec, const void *noise)
{
    dfx_tensors *t;
    dfx_status status = dfx_tensors_new(&t);
    if (status == DFX_OK)
        status = dfx_tensors_add(t, "noise", spec, noise);
    if (status == DFX_OK)
        status = dfx_tensors_save(t, strcmp(path, "-") == 0 ? "/dev/stdout" : path);
    dfx_tensors_free(t);
    return status;
}

static int run(void *settings)
{
    const struct settings *s = settings;
    dfx_spec spec = { 0 };
    size_t count = 0;
    if (!s->seed.given || !s->shape || !s->out)
        return cmd_fail_with(EXIT_USAGE, "--%s is missing; `dfx rng --help` shows the usage",
                             !s->seed.given ? "seed"
                             : !s->shape    ? "shape"
                                            : "out");
    if (dfx_dtype_parse(&spec.dtype, s->dtype) != DFX_OK || spec.dtype > DFX_BF16)
        return cmd_fail_with(EXIT_USAGE, "--dtype: \"%s\" must be f32, f16 or bf16", s->dtype);
    int code = parse_shape(&spec, &count, s->shape);
    if (code == EXIT_DONE)
        code = output_check(s->out);
    if (code != EXIT_DONE)
        return code;
    void *noise = malloc(count * dfx_dtype_size(spec.dtype));
    if (!noise)
        return cmd_fail_with(EXIT_FAILED, "--shape: no memory for %zu values", count);
    dfx_rng rng;
    dfx_rng_seed(&rng, s->seed.value);
    dfx_status status = dfx_rng_normal_as(&rng, spec.dtype, noise, count);
    if (status == DFX_OK)
        status = write_noise(s->out, &spec, noise);
    free(noise);
    return status == DFX_OK ? EXIT_DONE : cmd_fail(status);
}

const struct command cmd_rng = {
    .name = "rng",
    .summary = "write the noise that torch draws for a seed",
    .example = "  dfx rng --seed 42 --shape 1,4,64,64 --out noise.safetensors\n",
    .options = options,
    .positionals = positionals,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
