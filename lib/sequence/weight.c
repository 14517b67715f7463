/* weight.c - packing weights for a device, once for all sequences that use them. */
#include "sequence/weight.h"

#include "core/dtype.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/status.h"
#include "device/cpu_kernels.h"

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

/* What can go wrong while packing, as bits. */
enum { NO_MEMORY = 1, NOT_FINITE = 2 };

/* Numbers of a weight that are converted at once: they stay in the first-level cache. */
enum { BLOCK = 4096 };

/* Numbers first .. first + n <= first + BLOCK of a weight as another type; they are checked while
 * they are in the cache. */
static int convert(void *to, dfx_dtype dtype, const dfx_weight *w, size_t first, size_t n)
{
    dfx_dtype type = w->spec.dtype;
    const void *from = (const char *)w->data + first * dfx_dtype_size(type);
    int wrong = dfx__is_finite(from, type, n) ? 0 : NOT_FINITE;
    if (type == dtype) {
        memcpy(to, from, n * dfx_dtype_size(type));
    } else {
        float room[BLOCK];
        if (dfx__dtype_is_float(type))
            dfx__cpu_kernels()->widen(room, from, type, n);
        else
            dfx__to_f32(room, from, type, n);
        dfx__cpu_kernels()->narrow(to, dtype, room, n);
    }
    return wrong;
}

/* A few lines of every tap of a panel: where they go, and the outputs that they come from, in the
 * file's order and `pitch` numbers apart. A packed line has a place for `width` outputs. */
typedef struct {
    char *to;
    const char *from;
    size_t width, outputs, pitch, taps, lines, first, count;
} piece;

static inline void place(const piece *p, size_t step, size_t element)
{
    for (size_t t = 0; t < p->taps; t++)
        for (size_t i = 0; i < p->count; i++) {
            char *line = p->to + (t * p->lines + p->first + i) * p->width * step * element;
            for (size_t o = 0; o < p->outputs; o++)
                for (size_t s = 0; s < step; s++)
                    memcpy(line + (o * step + s) * element,
                           p->from + (o * p->pitch + (i * step + s) * p->taps + t) * element,
                           element);
        }
}

/* place() with constants; without taps the two numbers of a pair move as one. */
static void place_piece(const piece *p, size_t step, size_t element)
{
    piece words = *p;
    if (step == 2 && element == 2 && p->taps == 1 && p->pitch % 2 == 0) {
        words.pitch /= 2;
        place(&words, 1, 4);
    } else if (step == 2 && element == 2) {
        place(p, 2, 2);
    } else if (step == 1 && element == 2) {
        place(p, 1, 2);
    } else if (step == 1 && element == 4) {
        place(p, 1, 4);
    } else {
        place(p, step, element);
    }
}

/* Lines of a panel that are packed at once, so that all their numbers stay in the caches. */
static size_t lines_at_once(struct matrix m)
{
    size_t lines = BLOCK / (m.taps * m.step);
    return lines > 64 ? 64 : lines > 0 ? lines : 1;
}

/* Inputs first .. first + n of `outputs` rows from that one on, each to its place in the room; a
 * pair's other half is 0. */
static int read_rows(char *room, size_t pitch, dfx_dtype dtype, const dfx_weight *w,
                     struct matrix m, size_t row, size_t outputs, size_t first, size_t n)
{
    size_t element = dfx_dtype_size(dtype), numbers = n * m.taps;
    int wrong = 0;
    for (size_t o = 0; o < outputs; o++, room += pitch * element) {
        size_t at = ((row + o) * m.inputs + first) * m.taps;
        for (size_t i = 0; i < numbers; i += BLOCK)
            wrong |= convert(room + i * element, dtype, w, at + i,
                             numbers - i < BLOCK ? numbers - i : BLOCK);
        if (n % m.step)
            memset(room + numbers * element, 0, m.taps * element);
    }
    return wrong;
}

/* One panel of 32 outputs; in DFX__ROWS its columns go to their place in each row. `room` takes the
 * lines of all of them that are packed at once. */
static int pack_panel(void *to, dfx__format format, dfx_dtype dtype, const dfx_weight *w,
                      struct matrix m, size_t panel, char *room)
{
    size_t element = dfx_dtype_size(dtype), first = panel * DFX__PANEL;
    size_t count = m.outputs - first < DFX__PANEL ? m.outputs - first : DFX__PANEL;
    size_t inputs = lines_at_once(m) * m.step, pitch = inputs * m.taps;
    size_t before = in_panels(format) ? first * m.taps * m.lines * m.step : first;
    piece p = {
        (char *)to + before * element, room, DFX__PANEL, DFX__PANEL, pitch, m.taps, m.lines, 0, 0
    };
    int wrong = 0;
    if (!in_panels(format)) {
        p.width = m.outputs;
        p.outputs = count;
    }
    if (count < DFX__PANEL)
        memset(room, 0, DFX__PANEL * pitch * element); /* of outputs that are not there */
    for (size_t i = 0; i < m.inputs; i += inputs) {
        size_t n = m.inputs - i < inputs ? m.inputs - i : inputs;
        wrong |= read_rows(room, pitch, dtype, w, m, first, count, i, n);
        p.first = i / m.step;
        p.count = (n + m.step - 1) / m.step;
        place_piece(&p, m.step, element);
    }
    return wrong;
}

static int pack_plain(void *to, dfx_dtype dtype, const dfx_weight *w)
{
    size_t n = dfx__elements(&w->spec);
    int wrong = 0;
#pragma omp parallel for reduction(| : wrong)
    for (size_t i = 0; i < n; i += BLOCK)
        wrong |= convert((char *)to + i * dfx_dtype_size(dtype), dtype, w, i,
                         n - i < BLOCK ? n - i : BLOCK);
    return wrong;
}

static int pack_matrix(void *to, dfx__format format, dfx_dtype dtype, const dfx_weight *w)
{
    struct matrix m = as_matrix(&w->spec, format);
    size_t panels = (m.outputs + DFX__PANEL - 1) / DFX__PANEL;
    int wrong = 0;
#pragma omp parallel
    {
        char *room =
            dfx__alloc(lines_at_once(m) * m.step * m.taps, DFX__PANEL * dfx_dtype_size(dtype));
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

/* The error of a weight, with its name. */
static dfx_status fail_in(dfx_status status, const dfx_weight *w)
{
    return dfx__fail_in(status, "%s%s%s", w->file ? w->file : "", w->file ? ": " : "", w->name);
}

dfx_status dfx__pack_once(void *to, dfx__format format, dfx_dtype dtype, const dfx_weight *w)
{
    dfx_status status = dfx__pack(to, format, dtype, w);
    if (w->is_mapped)
        dfx__mapped_release(w->data, dfx__spec_bytes(&w->spec));
    return status == DFX_OK ? DFX_OK : fail_in(status, w);
}

/* Packs straight into the device's memory, or into what its driver copies from. */
static dfx_status fill(dfx__weight_copy *c)
{
    const dfx__device_class *class = c->device->class;
    void *to;
    if (c->buffer->is_imagined)
        return DFX_OK;
    dfx_status mapped = class->map(&to, c->buffer);
    if (mapped == DFX_ERROR_MEMORY) /* some drivers find out late */
        c->device->ran_out = 1;
    DFX__TRY(mapped);
    dfx_status packed = dfx__pack_once(to, c->format, c->dtype, c->weight);
    dfx_status unmapped = class->unmap(c->buffer, to);
    return packed != DFX_OK ? packed : unmapped;
}

static dfx__weight_copy *find_copy(const dfx_weight *w, const dfx_device *device,
                                   dfx__format format, dfx_dtype dtype)
{
    dfx__weight_copy *c = w->copies;
    while (c && (c->device != device || c->format != format || c->dtype != dtype))
        c = c->next;
    return c;
}

int dfx__weight_copy_exists(const dfx_weight *w, const dfx_device *device, dfx__format format,
                            dfx_dtype dtype)
{
    return find_copy(w, device, format, dtype) != NULL;
}

dfx_status dfx__weight_copy_get(dfx__weight_copy **out, dfx_weight *w, dfx_device *device,
                                dfx__format format, dfx_dtype dtype)
{
    dfx__weight_copy *c = find_copy(w, device, format, dtype);
    *out = c;
    if (c) {
        c->users++;
        return DFX_OK;
    }
    c = dfx__alloc(1, sizeof *c);
    if (!c)
        return dfx__no_memory();
    *c = (dfx__weight_copy){ NULL, w, device, format, dtype, NULL, 1 };
    dfx_status status =
        dfx__buffer_new(&c->buffer, device, dfx__packed_bytes(&w->spec, format, dtype));
    status = status == DFX_OK ? fill(c) : fail_in(status, w);
    if (status != DFX_OK) {
        dfx__buffer_free(c->buffer);
        free(c);
        return status;
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
