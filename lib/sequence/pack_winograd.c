/* pack_winograd.c - weights of 3x3 convolutions, transformed for op/conv2d_winograd.c. */
#include "core/dtype.h"
#include "core/memory.h"
#include "core/status.h"
#include "sequence/weight.h"

#include <stdlib.h>

enum { TAPS = 9, WINDOW = 3, POINTS = 6, PLANES = POINTS * POINTS };

/* to[i * out] = sum over k of G[i][k] from[k * in], for lines of 32 outputs: polynomials of degree
 * 2 at 0, +-sqrt(1/2), +-sqrt(2) and infinity, each over the product of its point's distances. */
static void transform(double (*to)[DFX__PANEL], int out, double (*from)[DFX__PANEL], int in)
{
    const double half_root = 0.70710678118654752440, root = 1.41421356237309504880;
    for (int o = 0; o < DFX__PANEL; o++) {
        double g0 = from[0][o], g1 = from[in][o], g2 = from[2 * in][o];
        double even = (-2 * g0 - g2) / 3, odd = -2 * half_root * g1 / 3;
        to[0][o] = g0;
        to[out][o] = even + odd;
        to[2 * out][o] = even - odd;
        even = (g0 + 2 * g2) / 6;
        odd = root * g1 / 6;
        to[3 * out][o] = even + odd;
        to[4 * out][o] = even - odd;
        to[5 * out][o] = g2;
    }
}

/* Input i of a panel: U = G g G^T, its elements `plane` floats apart. */
static void pack_input(float *to, size_t plane, double (*window)[DFX__PANEL])
{
    double half[POINTS * WINDOW][DFX__PANEL], whole[PLANES][DFX__PANEL];
    for (int x = 0; x < WINDOW; x++)
        transform(half + x, WINDOW, window + x, WINDOW);
    for (int y = 0; y < POINTS; y++)
        transform(whole + y * POINTS, 1, half + y * WINDOW, 1);
    for (size_t i = 0; i < PLANES; i++)
        for (int o = 0; o < DFX__PANEL; o++)
            to[i * plane + (size_t)o] = (float)whole[i][o];
}

/* One panel of 32 outputs; `room` has room for them as they lie in the file. */
static void pack_panel(float *to, const dfx_weight *w, size_t panel, float *room)
{
    size_t outputs = (size_t)w->spec.dim[0], inputs = (size_t)w->spec.dim[1];
    size_t first = panel * DFX__PANEL, n = inputs * TAPS;
    size_t panels = (outputs + DFX__PANEL - 1) / DFX__PANEL;
    size_t count = outputs - first < DFX__PANEL ? outputs - first : DFX__PANEL;
    const char *from = (const char *)w->data + first * n * dfx_dtype_size(w->spec.dtype);
    dfx__to_f32(room, from, w->spec.dtype, count * n);
    for (size_t i = 0; i < inputs; i++) {
        double window[TAPS][DFX__PANEL] = { 0 };
        for (size_t o = 0; o < count; o++)
            for (size_t t = 0; t < TAPS; t++)
                window[t][o] = room[o * n + i * TAPS + t];
        pack_input(to + (panel * inputs + i) * DFX__PANEL, panels * inputs * DFX__PANEL, window);
    }
}

size_t dfx__winograd_bytes(const dfx_spec *spec)
{
    size_t panels = ((size_t)spec->dim[0] + DFX__PANEL - 1) / DFX__PANEL;
    return PLANES * panels * DFX__PANEL * (size_t)spec->dim[1] * sizeof(float);
}

dfx_status dfx__pack_winograd(float *to, const dfx_weight *w)
{
    size_t panels = ((size_t)w->spec.dim[0] + DFX__PANEL - 1) / DFX__PANEL;
    int failed = 0;
#pragma omp parallel
    {
        float *room = dfx__alloc((size_t)w->spec.dim[1] * TAPS, DFX__PANEL * sizeof *room);
#pragma omp for schedule(dynamic) reduction(| : failed)
        for (size_t p = 0; p < panels; p++) {
            if (room)
                pack_panel(to, w, p, room);
            else
                failed = 1;
        }
        free(room);
    }
    return failed ? dfx__no_memory() : DFX_OK;
}
