/* op_case.h - a case of tests/data/ops.safetensors as it is recorded. */
#ifndef OP_CASE_H
#define OP_CASE_H

#include "tap.h"

#include "dfxcl/op.h"
#include "dfxcl/tensors.h"
#include "sequence/weight.h"

enum { MAX_INPUTS = 4 };

static dfx_tensors *file;

/* The case that is recorded: its sequence, and what its inputs come from. */
static struct {
    const char *name;
    dfx_dtype dtype;
    dfx_sequence *sequence;
    const dfx_tensor *input[MAX_INPUTS];
    dfx_weight weight[MAX_INPUTS];
    int inputs, weights;
} now;

static const dfx_tensor *find(const char *part)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", now.name, part);
    const dfx_tensor *t = dfx_tensors_find(file, name);
    if (!t) {
        printf("Bail out! ops.safetensors has no %s\n", name);
        exit(99);
    }
    return t;
}

static dfx_value *in(const char *part)
{
    const dfx_tensor *t = now.input[now.inputs++] = find(part);
    dfx_value *x = dfx_input(now.sequence, t->name, t->spec.dtype, t->spec.rank, t->spec.dim);
    return now.dtype == DFX_F32 ? x : dfx_cast(x, now.dtype);
}

static dfx_value *constant(const char *part)
{
    const dfx_tensor *t = find(part);
    dfx_weight *w = &now.weight[now.weights++];
    *w = (dfx_weight){ .name = t->name, .spec = t->spec, .data = t->data };
    return dfx_constant(now.sequence, w);
}

static void begin(const char *name, dfx_device *device, dfx_dtype dtype)
{
    memset(&now, 0, sizeof now);
    now.name = name;
    now.dtype = dtype;
    if (dfx_sequence_new(&now.sequence, device, dtype) != DFX_OK)
        exit(99);
}

#endif
