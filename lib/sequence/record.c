/* record.c - recording: values and calls are appended, the first error sticks. */
#include "core/dtype.h"
#include "sequence/sequence.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dfx_status dfx_sequence_new(dfx_sequence **out, dfx_device *device, dfx_dtype dtype)
{
    *out = NULL;
    if (!dfx__dtype_is_float(dtype))
        return dfx__fail(DFX_ERROR_ARGUMENT, "a sequence's dtype is f32, f16 or bf16, not %s",
                         dfx_dtype_name(dtype));
    dfx_sequence *s = calloc(1, sizeof *s);
    if (!s)
        return dfx__no_memory();
    s->device = device;
    s->dtype = dtype;
    s->check = dfx__debug("check");
    s->time = dfx__debug("time");
    s->separate = dfx__debug("separate");
    *out = s;
    return DFX_OK;
}

void dfx__sequence_fail(dfx_sequence *s, dfx_status status, const char *format, ...)
{
    char text[768];
    va_list args;
    if (s->status != DFX_OK)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->status = status;
    s->message = dfx__pool_print(&s->pool, "%s%s%s", s->path, *s->path ? ": " : "", text);
    if (!s->message)
        s->message = "out of memory";
}

void dfx__call_fail(dfx_call *c, const char *format, ...)
{
    char text[640];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->out->bad = 1;
    dfx__sequence_fail(c->sequence, DFX_ERROR_ARGUMENT, "%s: %s", c->op->name, text);
}

/* What stands for a value that there is no memory for. */
static dfx_value *no_value(dfx_sequence *s)
{
    dfx__sequence_fail(s, DFX_ERROR_MEMORY, "out of memory");
    s->none = (dfx_value){ .sequence = s, .root = &s->none, .bad = 1, .first = -1, .last = -1 };
    return &s->none;
}

static dfx_value *new_value(dfx_sequence *s)
{
    dfx_value *v = dfx__pool_alloc(&s->pool, sizeof *v);
    if (!v)
        return no_value(s);
    v->sequence = s;
    v->root = v;
    v->first = v->last = -1;
    v->next = s->values;
    s->values = v;
    return v;
}

dfx_value *dfx__value_bad(dfx_sequence *s)
{
    dfx_value *v = new_value(s);
    if (v)
        v->bad = 1;
    return v;
}

/* An input or result of this name, or NULL. */
static dfx_value *find_value(const dfx_sequence *s, const char *name)
{
    for (dfx_value *v = s->values; v; v = v->next)
        if (v->name && strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static int good_shape(int rank, const int64_t *dim)
{
    int64_t n = 1;
    if (rank < 1 || rank > DFX_MAX_RANK)
        return 0;
    for (int i = 0; i < rank; i++) {
        if (dim[i] < 1 || dim[i] > INT32_MAX || n > INT64_MAX / 16 / dim[i])
            return 0;
        n *= dim[i];
    }
    return 1;
}

/* Whether the device's kernels can count the rows and the channels of a value. */
static int is_countable(const dfx_sequence *s, const dfx_spec *spec)
{
    int64_t channels = spec->dim[spec->rank - 1];
    return s->device->is_native || (channels <= DFX__MAX_COUNT &&
                                    (int64_t)dfx__elements(spec) / channels <= DFX__MAX_COUNT);
}

static const char too_large[] = "is larger than OpenCL kernels count, 2^31 pixels or channels; a "
                                "smaller picture or batch is needed, or --device cpu";

dfx_value *dfx_input(dfx_sequence *s, const char *name, dfx_dtype dtype, int rank,
                     const int64_t *dim)
{
    dfx_value *v = new_value(s);
    if (v->bad)
        return v;
    if (!good_shape(rank, dim) || find_value(s, name)) {
        dfx__sequence_fail(s, DFX_ERROR_ARGUMENT, "input %s: %s", name,
                           find_value(s, name) ? "the name is taken" : "its shape is not possible");
        v->bad = 1;
        return v;
    }
    v->spec.dtype = dtype;
    v->spec.rank = rank;
    memcpy(v->spec.dim, dim, (size_t)rank * sizeof *dim);
    if (!is_countable(s, &v->spec)) {
        char shape[DFX__SHAPE_TEXT];
        dfx__sequence_fail(s, DFX_ERROR_UNSUPPORTED, "input %s: %s %s", name,
                           dfx__shape_text(shape, rank, dim), too_large);
        v->bad = 1;
    }
    v->name = dfx__pool_copy(&s->pool, name);
    v->is_input = 1;
    return v->name ? v : no_value(s);
}

void dfx_invariant(dfx_value *input)
{
    if (!input || input->bad)
        return;
    if (input->root->is_input)
        input->root->invariant = 1;
    else
        dfx__sequence_fail(input->sequence, DFX_ERROR_ARGUMENT,
                           "only an input can be said to be invariant");
}

dfx_dtype dfx__constant_dtype(const dfx_sequence *s, const dfx_weight *w, dfx__format format)
{
    int half = w->spec.dtype == DFX_F16 || w->spec.dtype == DFX_BF16;
    if (w->spec.rank < 2)
        return DFX_F32;
    return format == DFX__PANELS && s->dtype == DFX_F32 && half ? w->spec.dtype : s->dtype;
}

dfx_value *dfx_constant(dfx_sequence *s, dfx_weight *weight)
{
    for (dfx_value *v = s->values; v; v = v->next)
        if (v->weight == weight)
            return v;
    dfx_value *v = new_value(s);
    if (!v->bad) {
        v->spec = weight->spec;
        v->spec.dtype = dfx__constant_dtype(s, weight, DFX__PLAIN);
        v->weight = weight;
        v->invariant = 1;
    }
    return v;
}

void dfx_output(dfx_value *v, const char *name)
{
    if (!v || v->bad)
        return;
    if (find_value(v->sequence, name)) {
        dfx__sequence_fail(v->sequence, DFX_ERROR_ARGUMENT, "output %s: the name is taken", name);
        return;
    }
    if (v->name) { /* it is something else already: the output is its alias */
        v = dfx_reshape(v, v->spec.rank, v->spec.dim);
        if (v->bad)
            return;
    }
    if (!(v->name = dfx__pool_copy(&v->sequence->pool, name)))
        no_value(v->sequence);
    v->is_output = v->root->kept = 1;
}

const dfx_spec *dfx_value_spec(const dfx_value *v)
{
    static const dfx_spec none;
    return v && !v->bad ? &v->spec : &none;
}

void dfx_push(dfx_sequence *s, const char *name)
{
    size_t n = strlen(s->path);
    if (s->depth < DFX__MAX_DEPTH)
        s->path_length[s->depth] = n;
    s->depth++;
    snprintf(s->path + n, sizeof s->path - n, n ? ".%s" : "%s", name);
    s->path_copy = NULL;
}

void dfx_pop(dfx_sequence *s)
{
    if (s->depth > 0 && --s->depth < DFX__MAX_DEPTH)
        s->path[s->path_length[s->depth]] = '\0';
    s->path_copy = NULL;
}

static dfx_call *new_call(dfx_sequence *s)
{
    if (s->calls == s->call_room) {
        int room = s->call_room ? 2 * s->call_room : 256;
        dfx_call **call = realloc(s->call, (size_t)room * sizeof *call);
        if (!call)
            return NULL;
        s->call = call;
        s->call_room = room;
    }
    if (!s->path_copy && !(s->path_copy = dfx__pool_copy(&s->pool, s->path)))
        return NULL;
    dfx_call *c = dfx__pool_alloc(&s->pool, sizeof *c);
    if (c) {
        c->sequence = s;
        c->path = s->path_copy;
        s->call[s->calls++] = c;
    }
    return c;
}

/* Whether a call's result is invariant. Where it is not, what the call takes of that kind is needed
 * in the next run again. */
static int keep_invariant(const dfx_call *c)
{
    int invariant = 1;
    for (int i = 0; i < DFX__MAX_INPUTS; i++)
        invariant &= !c->in[i] || c->in[i]->root->invariant;
    for (int i = 0; i < DFX__MAX_INPUTS && !invariant; i++)
        if (c->in[i] && c->in[i]->root->invariant)
            c->in[i]->root->kept = 1;
    return invariant;
}

dfx_value *dfx__record(const dfx_op *op, dfx__inputs in, dfx__ints i, dfx__floats f)
{
    if (!in.v[0] || in.v[0]->bad)
        return in.v[0];
    dfx_sequence *s = in.v[0]->sequence;
    for (int k = 1; k < DFX__MAX_INPUTS; k++)
        if (in.v[k] && in.v[k]->bad)
            return in.v[k];
    dfx_value *out = new_value(s);
    dfx_call *c = out->bad ? NULL : new_call(s);
    if (!c)
        return no_value(s);
    c->op = op;
    c->out = out;
    memcpy(c->in, in.v, sizeof c->in);
    memcpy(c->i, i.v, sizeof c->i);
    memcpy(c->f, f.v, sizeof c->f);
    out->invariant = keep_invariant(c);
    op->infer(c);
    if (!out->bad && !good_shape(out->spec.rank, out->spec.dim))
        dfx__call_fail(c, "its result has an impossible shape");
    if (!out->bad && !is_countable(s, &out->spec)) {
        char shape[DFX__SHAPE_TEXT];
        dfx__call_fail(c, "its result %s %s", dfx__shape_text(shape, out->spec.rank, out->spec.dim),
                       too_large);
    }
    return out;
}

dfx_value *dfx_reshape(dfx_value *x, int rank, const int64_t *dim)
{
    if (!x || x->bad)
        return x;
    dfx_value *v = new_value(x->sequence);
    if (v->bad)
        return v;
    v->spec = x->spec;
    v->spec.rank = rank;
    if (good_shape(rank, dim)) {
        memcpy(v->spec.dim, dim, (size_t)rank * sizeof *dim);
        if (dfx__elements(&v->spec) == dfx__elements(&x->spec)) {
            v->root = x->root;
            return v;
        }
    }
    char from[DFX__SHAPE_TEXT], to[DFX__SHAPE_TEXT];
    dfx__sequence_fail(x->sequence, DFX_ERROR_ARGUMENT, "reshape: %s does not fit %s",
                       dfx__shape_text(from, x->spec.rank, x->spec.dim),
                       dfx__shape_text(to, rank > DFX_MAX_RANK ? DFX_MAX_RANK : rank, dim));
    v->bad = 1;
    return v;
}

double dfx__call_flops(const dfx_call *c)
{
    return c->op->flops ? c->op->flops(c) : (double)dfx__elements(&c->out->spec);
}
