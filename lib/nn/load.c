/* load.c - the walk over a component's weights, and the layers that have some. */
#include "core/dtype.h"
#include "nn/nn.h"
#include "sequence/sequence.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void dfx__enter(dfx__loader *l, const char *name, ...)
{
    size_t n = strlen(l->path);
    l->length[l->depth++] = n;
    va_list args;
    va_start(args, name);
    vsnprintf(l->path + n, sizeof l->path - n - 1, name, args);
    va_end(args);
    strcat(l->path, ".");
}

void dfx__leave(dfx__loader *l)
{
    l->path[l->length[--l->depth]] = '\0';
}

static int same_shape(const dfx_spec *s, int rank, const int64_t *dim)
{
    if (s->rank != rank)
        return 0;
    for (int i = 0; i < rank; i++)
        if (s->dim[i] != dim[i])
            return 0;
    return 1;
}

/* A tensor's name, with the one that it has in its file where that differs. */
static const char *both_names(const dfx__loader *l, const char *name, char room[1024])
{
    char other[512];
    const char *in_file = dfx__weights_file_name(l->weights, name, other);
    if (!in_file)
        return name;
    snprintf(room, 1024, "%s (%s in the file)", name, in_file);
    return room;
}

static dfx_weight *random_weight(dfx__loader *l, int rank, const int64_t *dim)
{
    dfx_weight *w = dfx__loader_alloc(l, 1, sizeof *w);
    if (!w)
        return NULL;
    w->name = "random";
    w->spec = (dfx_spec){ .dtype = DFX_F16, .rank = rank };
    memcpy(w->spec.dim, dim, (size_t)rank * sizeof *dim);
    w->data = l->random;
    if (dfx__spec_bytes(&w->spec) <= l->random_bytes)
        return w;
    l->status = dfx__fail(DFX_ERROR_MEMORY, "a weight of %zu MiB is too large for random numbers",
                          dfx__spec_bytes(&w->spec) >> 20);
    return NULL;
}

dfx_weight *dfx__load(dfx__loader *l, const char *name, int rank, const int64_t *dim)
{
    char full[sizeof l->path + 64], has[DFX__SHAPE_TEXT], needs[DFX__SHAPE_TEXT], names[1024];
    if (l->status != DFX_OK)
        return NULL;
    if (l->random)
        return random_weight(l, rank, dim);
    snprintf(full, sizeof full, "%s%s", l->path, name);
    dfx_weight *w = dfx__weights_take(l->weights, full);
    if (!w) {
        l->status =
            dfx__fail(DFX_ERROR_FORMAT, "the tensor %s is missing", both_names(l, full, names));
        return NULL;
    }
    if (!same_shape(&w->spec, rank, dim)) {
        l->status =
            dfx__fail(DFX_ERROR_FORMAT, "the tensor %s has shape %s, the config needs %s",
                      both_names(l, full, names), dfx__shape_text(has, w->spec.rank, w->spec.dim),
                      dfx__shape_text(needs, rank, dim));
        return NULL;
    }
    return w;
}

int dfx__loader_has(const dfx__loader *l, const char *name)
{
    char full[sizeof l->path + 64];
    snprintf(full, sizeof full, "%s%s", l->path, name);
    return !l->random && dfx__weights_find(l->weights, full) != NULL;
}

void dfx__ignore(dfx__loader *l, const char *name)
{
    char full[sizeof l->path + 64];
    snprintf(full, sizeof full, "%s%s", l->path, name);
    if (!l->random)
        dfx__weights_take(l->weights, full);
}

void *dfx__loader_alloc(dfx__loader *l, size_t count, size_t size)
{
    void *p = count <= SIZE_MAX / 2 / size ? dfx__pool_alloc(l->pool, count * size) : NULL;
    if (!p && l->status == DFX_OK)
        l->status = dfx__no_memory();
    return p;
}

dfx_value *dfx__weight_value(dfx_value *x, dfx_weight *w)
{
    return x && w ? dfx_constant(x->sequence, w) : NULL;
}

void dfx__push_in(dfx_value *x, const char *name, ...)
{
    char text[64];
    va_list args;
    va_start(args, name);
    vsnprintf(text, sizeof text, name, args);
    va_end(args);
    if (x)
        dfx_push(x->sequence, text);
}

void dfx__pop_in(dfx_value *x)
{
    if (x)
        dfx_pop(x->sequence);
}

void dfx__linear_load(dfx__linear_layer *m, dfx__loader *l, const char *name, int in, int out,
                      int bias)
{
    m->name = name;
    dfx__enter(l, "%s", name);
    m->weight = dfx__load(l, "weight", 2, (int64_t[]){ out, in });
    m->bias = bias ? dfx__load(l, "bias", 1, (int64_t[]){ out }) : NULL;
    dfx__leave(l);
}

dfx_value *dfx__linear_then_record(const dfx__linear_layer *m, dfx_value *x, dfx_epilogue then)
{
    dfx__push_in(x, "%s", m->name);
    dfx_value *y =
        dfx_linear_then(x, dfx__weight_value(x, m->weight), dfx__weight_value(x, m->bias), &then);
    dfx__pop_in(x);
    return y;
}

dfx_value *dfx__linear_record(const dfx__linear_layer *m, dfx_value *x)
{
    return dfx__linear_then_record(m, x, (dfx_epilogue)DFX_EPILOGUE_DEFAULT);
}

static void load_conv(dfx__conv *m, dfx__loader *l, const char *name, int in, int out, int kernel,
                      int bias)
{
    int pad = (kernel - 1) / 2; /* of an even kernel too, as in diffusers */
    m->options = (dfx_conv2d_options){ 1, 1, 1, pad, pad, pad, pad, 0, 0 };
    m->name = name;
    dfx__enter(l, "%s", name);
    m->weight = dfx__load(l, "weight", 4, (int64_t[]){ out, in, kernel, kernel });
    m->bias = bias ? dfx__load(l, "bias", 1, (int64_t[]){ out }) : NULL;
    dfx__leave(l);
}

void dfx__conv_load(dfx__conv *m, dfx__loader *l, const char *name, int in, int out, int kernel)
{
    load_conv(m, l, name, in, out, kernel, 1);
}

void dfx__conv_without_bias_load(dfx__conv *m, dfx__loader *l, const char *name, int in, int out,
                                 int kernel)
{
    load_conv(m, l, name, in, out, kernel, 0);
}

dfx_value *dfx__conv_then_record(const dfx__conv *m, dfx_value *x, dfx_epilogue then)
{
    dfx__push_in(x, "%s", m->name);
    dfx_value *y = dfx_conv2d_then(x, dfx__weight_value(x, m->weight),
                                   dfx__weight_value(x, m->bias), &m->options, &then);
    dfx__pop_in(x);
    return y;
}

dfx_value *dfx__conv_record(const dfx__conv *m, dfx_value *x)
{
    return dfx__conv_then_record(m, x, (dfx_epilogue)DFX_EPILOGUE_DEFAULT);
}

dfx_value *dfx__conv_resized_record(const dfx__conv *m, dfx_value *x, int64_t height, int64_t width)
{
    dfx__conv resized = *m;
    resized.options.height = (int)height;
    resized.options.width = (int)width;
    return dfx__conv_record(&resized, x);
}

void dfx__norm_load(dfx__norm *m, dfx__loader *l, const char *name, int channels, int groups,
                    float eps)
{
    m->name = name;
    m->groups = groups;
    m->eps = eps;
    dfx__enter(l, "%s", name);
    m->scale = dfx__load(l, "weight", 1, (int64_t[]){ channels });
    m->shift = dfx__load(l, "bias", 1, (int64_t[]){ channels });
    dfx__leave(l);
}

typedef dfx_value *group_norm_function(dfx_value *x, dfx_value *scale, dfx_value *shift, int groups,
                                       float eps);

static dfx_value *record_norm(const dfx__norm *m, dfx_value *x, group_norm_function *group_norm)
{
    dfx_value *scale = dfx__weight_value(x, m->scale), *shift = dfx__weight_value(x, m->shift);
    dfx__push_in(x, "%s", m->name);
    dfx_value *y = m->groups ? group_norm(x, scale, shift, m->groups, m->eps)
                             : dfx_layer_norm(x, scale, shift, m->eps);
    dfx__pop_in(x);
    return y;
}

dfx_value *dfx__norm_record(const dfx__norm *m, dfx_value *x)
{
    return record_norm(m, x, dfx_group_norm);
}

dfx_value *dfx__norm_silu_record(const dfx__norm *m, dfx_value *x)
{
    return record_norm(m, x, dfx_group_norm_silu);
}
