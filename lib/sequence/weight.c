/* weight.c - packing weights for a device, once for all sequences that use them. */
#include "sequence/weight.h"

#include "core/dtype.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

/* A weight as a matrix: `outputs` rows of `taps` x `inputs` numbers; in the file the taps are
 * innermost ([O, I, kh, kw]). Packed, the inputs of a tap come in lines of `step`. */
struct matrix {
    size_t outputs, inputs, taps, step, lines;
};

static struct matrix as_matrix(const dfx_spec *s, dfx__format format)
{
    struct matrix m = { (size_t)s->dim[0], 1, 1, format == DFX__PANELS_PAIRS ? 2 : 1, 0 };
    if (s->rank > 1)
        m.inputs = (size_t)s->dim[1];
    for (int i = 2; i < s->rank; i++)
        m.taps *= (size_t)s->dim[i];
    m.lines = (m.inputs + m.step - 1) / m.step;
    return m;
}

static int in_panels(dfx__format format)
{
    return format == DFX__PANELS || format == DFX__PANELS_PAIRS;
}

size_t dfx__packed_bytes(const dfx_spec *spec, dfx__format format, dfx_dtype dtype)
{
    struct matrix m = as_matrix(spec, format);
    size_t outputs = m.outputs;
    if (in_panels(format))
        outputs = (outputs + DFX__PANEL - 1) / DFX__PANEL * DFX__PANEL;
    return outputs * m.taps * m.lines * m.step * dfx_dtype_size(dtype);
}

/* `count` outputs from the first one, as floats [taps][lines][width][step]. */
static void gather(float *to, size_t width, const dfx_weight *w, struct matrix m, size_t first,
                   size_t count, float *row)
{
    size_t n = m.inputs * m.taps, element = dfx_dtype_size(w->spec.dtype);
    for (size_t o = 0; o < count; o++) {
        dfx__to_f32(row, (const char *)w->data + (first + o) * n * element, w->spec.dtype, n);
        for (size_t t = 0; t < m.taps; t++)
            for (size_t i = 0; i < m.inputs; i++)
                to[((t * m.lines + i / m.step) * width + o) * m.step + i % m.step] =
                    row[i * m.taps + t];
    }
}

/* What can go wrong while packing, as bits. */
enum { NO_MEMORY = 1, NOT_FINITE = 2 };

/* n numbers of a weight from that one, while they are on their way through the cache anyway. */
static int check_numbers(const dfx_weight *w, size_t first, size_t n)
{
    const char *data = (const char *)w->data + first * dfx_dtype_size(w->spec.dtype);
    return dfx__is_finite(data, w->spec.dtype, n) ? 0 : NOT_FINITE;
}

/* One panel of 32 outputs; in DFX__ROWS its columns go to their place in each row. */
static int pack_panel(void *to, dfx__format format, dfx_dtype dtype, const dfx_weight *w,
                      struct matrix m, size_t panel, float *room)
{
    size_t k = m.taps * m.lines * m.step, element = dfx_dtype_size(dtype);
    size_t first = panel * DFX__PANEL;
    size_t count = m.outputs - first < DFX__PANEL ? m.outputs - first : DFX__PANEL;
    float *row = room + k * DFX__PANEL;
    int wrong = check_numbers(w, first * m.inputs * m.taps, count * m.inputs * m.taps);
    memset(room, 0, k * DFX__PANEL * sizeof *room);
    gather(room, DFX__PANEL, w, m, first, count, row);
    if (in_panels(format)) {
        dfx__from_f32((char *)to + panel * k * DFX__PANEL * element, dtype, room, k * DFX__PANEL);
        return wrong;
    }
    for (size_t i = 0; i < k; i++)
        dfx__from_f32((char *)to + (i * m.outputs + first) * element, dtype, room + i * DFX__PANEL,
                      count);
    return wrong;
}

static int pack_plain(void *to, dfx_dtype dtype, const dfx_weight *w)
{
    enum { BLOCK = 4096 };
    size_t n = dfx__elements(&w->spec), element = dfx_dtype_size(w->spec.dtype);
    int wrong = 0;
#pragma omp parallel for reduction(| : wrong)
    for (size_t i = 0; i < n; i += BLOCK) {
        float room[BLOCK];
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        const char *from = (const char *)w->data + i * element;
        char *place = (char *)to + i * dfx_dtype_size(dtype);
        wrong |= check_numbers(w, i, count);
        if (w->spec.dtype == dtype) {
            memcpy(place, from, count * element);
            continue;
        }
        dfx__to_f32(room, from, w->spec.dtype, count);
        dfx__from_f32(place, dtype, room, count);
    }
    return wrong;
}

static int pack_matrix(void *to, dfx__format format, dfx_dtype dtype, const dfx_weight *w)
{
    struct matrix m = as_matrix(&w->spec, format);
    size_t panels = (m.outputs + DFX__PANEL - 1) / DFX__PANEL;
    int wrong = 0;
#pragma omp parallel
    {
        /* one panel, and one output in the file's order */
        float *room = dfx__alloc(m.taps * m.lines * m.step, (DFX__PANEL + 1) * sizeof *room);
#pragma omp for schedule(dynamic) reduction(| : wrong)
        for (size_t p = 0; p < panels; p++)
            wrong |= room ? pack_panel(to, format, dtype, w, m, p, room) : NO_MEMORY;
        free(room);
    }
    return wrong;
}

dfx_status dfx__pack(void *to, dfx__format format, dfx_dtype dtype, const dfx_weight *w)
{
    int wrong = format == DFX__PLAIN ? pack_plain(to, dtype, w) : pack_matrix(to, format, dtype, w);
    if (wrong & NO_MEMORY)
        return dfx__no_memory();
    if (wrong & NOT_FINITE)
        return dfx__fail(DFX_ERROR_FORMAT, "has numbers that are NaN or infinite");
    return DFX_OK;
}

/* Packs straight into the device's memory, or into what its driver copies from. */
static dfx_status fill(dfx__weight_copy *c)
{
    const dfx__device_class *class = c->device->class;
    void *to;
    DFX__TRY(class->map(&to, c->buffer));
    dfx_status packed = dfx__pack(to, c->format, c->dtype, c->weight);
    dfx_status unmapped = class->unmap(c->buffer, to);
    if (c->weight->is_mapped)
        dfx__mapped_release(c->weight->data, dfx__spec_bytes(&c->weight->spec));
    return packed != DFX_OK ? packed : unmapped;
}

dfx_status dfx__weight_copy_get(dfx__weight_copy **out, dfx_weight *w, dfx_device *device,
                                dfx__format format, dfx_dtype dtype)
{
    *out = NULL;
    for (dfx__weight_copy *c = w->copies; c; c = c->next)
        if (c->device == device && c->format == format && c->dtype == dtype) {
            c->users++;
            *out = c;
            return DFX_OK;
        }
    dfx__weight_copy *c = dfx__alloc(1, sizeof *c);
    if (!c)
        return dfx__no_memory();
    *c = (dfx__weight_copy){ NULL, w, device, format, dtype, NULL, 1 };
    dfx_status status =
        dfx__buffer_new(&c->buffer, device, dfx__packed_bytes(&w->spec, format, dtype));
    if (status == DFX_OK)
        status = fill(c);
    if (status != DFX_OK) {
        dfx__buffer_free(c->buffer);
        free(c);
        return dfx__fail_in(status, "%s%s%s", w->file ? w->file : "", w->file ? ": " : "", w->name);
    }
    c->next = w->copies;
    w->copies = c;
    *out = c;
    return DFX_OK;
}

void dfx__weight_copy_release(dfx__weight_copy *c)
{
    if (!c || --c->users > 0)
        return;
    dfx__weight_copy **link = &c->weight->copies;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    dfx__buffer_free(c->buffer);
    free(c);
}
