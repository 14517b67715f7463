/* list_kernels.c - what the library compiles for the selftest's cases, for tests/check_kernels.py.
 *
 * Lines "PROFILE PROGRAM KERNEL OPTIONS" on stdout, as many as there are launches. The devices are
 * not there: what a recording prepares for them is printed instead of compiled. */
#include "device/device.h"
#include "device/faults.h"
#include "op/oplist.h"
#include "op/trial.h"

#include <stdio.h>
#include <stdlib.h>

/* gpu, and with tensor cores; small: the least that the library takes; cpu: with vectors. */
static const struct profile {
    const char *name;
    size_t group;
    int local_memory, vector_width, has_tensor_cores;
} profiles[] = { { "gpu", 1024, 64 << 10, 1, 0 },
                 { "mma", 1024, 64 << 10, 1, 1 },
                 { "small", 64, DFX__LEAST_LOCAL, 1, 0 },
                 { "cpu", 4096, 256 << 10, 16, 0 } };

static const struct profile *now;

static dfx_status allocate(dfx__buffer **out, dfx_device *d, size_t bytes)
{
    (void)d;
    *out = calloc(1, sizeof **out);
    if (*out && !((*out)->host = calloc(1, bytes))) {
        free(*out);
        *out = NULL;
    }
    return *out ? DFX_OK : DFX_ERROR_MEMORY;
}

static void release(dfx__buffer *b)
{
    free(b->host);
    free(b);
}

static dfx_status write_nothing(dfx__buffer *b, size_t offset, const void *from, size_t bytes)
{
    (void)b, (void)offset, (void)from, (void)bytes;
    return DFX_OK;
}

static dfx_status map(void **out, dfx__buffer *b)
{
    *out = b->host;
    return DFX_OK;
}

static dfx_status unmap(dfx__buffer *b, void *mapped)
{
    (void)b, (void)mapped;
    return DFX_OK;
}

static dfx_status print(dfx__prepared **out, dfx_device *d, const dfx__launch *l)
{
    (void)d;
    *out = NULL;
    if (l->kind == DFX__LAUNCH_KERNEL)
        printf("%s %s %s %s\n", now->name, l->kernel.program, l->kernel.name, l->kernel.options);
    return DFX_OK;
}

static void discard(dfx__prepared *p)
{
    (void)p;
}

static int has(dfx_device *d, dfx__feature feature)
{
    (void)d;
    return feature == DFX__TENSOR_CORES && now->has_tensor_cores;
}

static const dfx__device_class class = { .allocate = allocate,
                                         .release = release,
                                         .write = write_nothing,
                                         .map = map,
                                         .unmap = unmap,
                                         .prepare = print,
                                         .discard = discard,
                                         .has = has };

static dfx_device device_of(const struct profile *p)
{
    return (dfx_device){ .class = &class,
                         .info = { .id = "listed",
                                   .name = "listed",
                                   .is_cpu = p->vector_width > 1,
                                   .is_gpu = p->vector_width == 1,
                                   .units = 4,
                                   .memory = 1u << 30,
                                   .max_buffer = 1u << 30,
                                   .local_memory = (uint64_t)p->local_memory,
                                   .max_group = p->group,
                                   .usable = 1 },
                         .alignment = 128,
                         .limit = 1u << 30,
                         .vector_width = p->vector_width };
}

/* A case in one way, where it takes it; 0 on failure. */
static int list(dfx_device *d, const dfx_op *op, const dfx__variant *variant, dfx_dtype dtype,
                const dfx__case *c)
{
    dfx__trial t;
    dfx_status status = dfx__trial_open(&t, d, dtype, op, c);
    if (status == DFX_OK) {
        t.s->forced = variant;
        if (t.s->calls == 1 && dfx__variant_choose(t.s->call[0]) == variant)
            status = dfx__trial_prepare(&t);
        dfx__trial_close(&t);
    }
    if (status != DFX_OK)
        fprintf(stderr, "%s:%s: %s\n", op->name, variant->name, dfx_error());
    return status == DFX_OK;
}

int main(void)
{
    static const dfx_dtype dtypes[] = { DFX_F32, DFX_F16, DFX_BF16 };
    for (size_t p = 0; p < sizeof profiles / sizeof *profiles; p++) {
        dfx_device d = device_of(now = &profiles[p]);
        for (int i = 0; i < dfx__op_count; i++)
            for (const dfx__variant *v = dfx__ops[i]->cl; v->name; v++)
                for (int k = 0; k < 3; k++)
                    for (const dfx__case *c = dfx__ops[i]->cases; c->in[0]; c++)
                        if (!list(&d, dfx__ops[i], v, dtypes[k], c))
                            return 1;
        dfx__faults_free(d.faults);
    }
    return 0;
}
