/* cpu_panels.h - the native CPU's product of rows with a weight, or what stands for one, in panels.
 */
#ifndef DFX_DEVICE_CPU_PANELS_H
#define DFX_DEVICE_CPU_PANELS_H

#include "dfxcl/op.h"

/* out [rows][columns] = activation(scale (bias + sums) + channels) + add, where a sum is that over
 * taps of row(r, tap) [k] times the weight of the tap [k][columns]. A linear layer has one tap, a
 * convolution one for each pixel of its window. */
typedef struct dfx__panels_job {
    dfx_dtype dtype;        /* of the rows, channels, add and out: f32, f16 or bf16 */
    dfx_dtype weight_dtype; /* of the panels: the same, or f16 or bf16 where that is f32 */
    int64_t rows, columns, k;
    int taps;
    int pairs;          /* the panels are in pairs: see dfx__cpu_takes_pairs */
    const void *panels; /* [ceil(columns / 32)][taps][k][32]; in pairs [..][ceil(k / 2)][32][2] */
    const float *bias;  /* [columns], or NULL */
    float scale;        /* 1 for layers */
    void *out;
    int64_t stride; /* elements from a row of out, and of add, to the next */

    const void *channels;      /* [rows / image][columns], or NULL */
    int64_t image;             /* rows that share a line of channels */
    dfx_activation activation; /* DFX_GEGLU: the weight, bias and channels have 2 columns columns,
                                  and columns is a multiple of 32 */
    const void *add;           /* as out, or NULL */

    /* Where `count` rows from `first` on lie, for one tap; NULL stands for zeros. */
    void (*locate)(const struct dfx__panels_job *job, const void **row, int64_t first, int count,
                   int tap);
    const void *user;    /* for locate */
    int64_t user_stride; /* for dfx__locate_rows */
} dfx__panels_job;

/* A `locate` for rows of job->dtype from job->user on, user_stride elements apart; one tap. */
void dfx__locate_rows(const dfx__panels_job *job, const void **row, int64_t first, int count,
                      int tap);

/* Whether the kernels chosen for this processor multiply this dtype in pairs. */
int dfx__cpu_takes_pairs(dfx_dtype dtype);

/* `jobs` of them, which are of the same sizes and types. */
void dfx__cpu_panels(const dfx__panels_job *job, int64_t jobs);

#endif
