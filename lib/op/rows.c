/* rows.c - launches and loops of the operators that go over rows of numbers. */
#include "op/rows.h"

enum { CPU_LENGTH = 4096, GPU_LENGTH = 1024, GPU_LANES = 64 };

static int on_cpu(const dfx__launches *l)
{
    return l->call->sequence->device->info.is_cpu;
}

void dfx__rows_kernel(dfx__launches *l, const char *program, const char *name, int64_t rows,
                      int64_t images, const char *options)
{
    int lanes = on_cpu(l) ? 1 : dfx__group(l->call, GPU_LANES), width = on_cpu(l) ? 16 : 4;
    dfx__kernel(l, program, name,
                "-DLANES=%d -DWIDTH=%d -DVEC=float%d -DLOADV=LOADV%d -DSTOREV=STOREV%d %s", lanes,
                width, width, width, width, options);
    dfx__grid(l, rows * lanes, images, 1, lanes, 1, 1);
}

void dfx__pixels_kernel(dfx__launches *l, const char *name, const dfx_spec *x, const char *options)
{
    const dfx_spec *y = &l->call->out->spec;
    dfx__rows_kernel(l, name, name, y->dim[2], y->dim[0] * y->dim[1], options);
    dfx__arg_int(l, x->dim[1]);
    dfx__arg_int(l, x->dim[2]);
    dfx__arg_int(l, y->dim[1]);
    dfx__arg_int(l, y->dim[2]);
    dfx__arg_int(l, x->dim[3]);
}

void dfx__flat_kernel(dfx__launches *l, const char *program, const char *name, const char *options)
{
    int64_t n = (int64_t)dfx__elements(&l->call->out->spec);
    int64_t length = on_cpu(l) ? CPU_LENGTH : GPU_LENGTH, rows = (n + length - 1) / length;
    dfx__rows_kernel(l, program, name, rows, 1, options);
    dfx__arg_int(l, length);
    dfx__arg_int(l, n - (rows - 1) * length);
}

const float *dfx__piece_load(const void *data, dfx_dtype dtype, int64_t at, size_t n, float *room)
{
    if (dtype == DFX_F32)
        return (const float *)data + at;
    dfx__cpu_kernels()->widen(room, (const uint16_t *)data + at, dtype, n);
    return room;
}

float *dfx__piece_begin(void *data, dfx_dtype dtype, int64_t at, float *room)
{
    return dtype == DFX_F32 ? (float *)data + at : room;
}

void dfx__piece_end(void *data, dfx_dtype dtype, int64_t at, size_t n, const float *room)
{
    if (dtype != DFX_F32)
        dfx__cpu_kernels()->narrow((uint16_t *)data + at, dtype, room, n);
}

void dfx__piece_add(float *sum, const void *data, dfx_dtype dtype, int64_t at, size_t n,
                    float factor)
{
    float room[DFX__PIECE];
    const float *x = dfx__piece_load(data, dtype, at, n, room);
    for (size_t i = 0; i < n; i++)
        sum[i] += factor * x[i];
}

void dfx__each_pixel(const dfx_call *c, const dfx__host *h,
                     void (*run_pixel)(const dfx_call *c, const dfx__host *h, int64_t row,
                                       int64_t column))
{
    const dfx_spec *y = &c->out->spec;
#pragma omp parallel for
    for (int64_t row = 0; row < y->dim[0] * y->dim[1]; row++)
        for (int64_t column = 0; column < y->dim[2]; column++)
            run_pixel(c, h, row, column);
}
