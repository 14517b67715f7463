/* depth.c - depth maps in the size of latents, as diffusers' depth-to-image makes them. */
#include "media/depth.h"

#include "core/status.h"

#include <math.h>
#include <stdint.h>

/* Keys' cubic with a = -3/4, which torch takes; PIL takes -1/2. */
static void cubic_weights(float *w, float t)
{
    const float a = -0.75f;
    for (int i = 0; i < 4; i++) {
        float x = fabsf(t + 1 - (float)i);
        w[i] = x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1
                      : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
}

static int clamped(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* Where output i of `out` lies among `in` inputs: the input before it and the four weights. */
static int place(float *w, int i, int in, int out)
{
    float at = (float)in / (float)out * ((float)i + 0.5f) - 0.5f, before = floorf(at);
    cubic_weights(w, at - before);
    return (int)before;
}

static void interpolate(float *out, int out_width, int out_height, const float *in, int width,
                        int height)
{
    for (int y = 0; y < out_height; y++) {
        float down[4], across[4];
        int row = place(down, y, height, out_height);
        for (int x = 0; x < out_width; x++) {
            int column = place(across, x, width, out_width);
            float sum = 0;
            for (int j = 0; j < 4; j++) {
                const float *line = in + (size_t)clamped(row - 1 + j, height) * (size_t)width;
                float part = 0;
                for (int i = 0; i < 4; i++)
                    part += across[i] * line[clamped(column - 1 + i, width)];
                sum += down[j] * part;
            }
            *out++ = sum;
        }
    }
}

dfx_status dfx__depth_map(float *out, int out_width, int out_height, const float *in, int width,
                          int height)
{
    size_t n = (size_t)out_width * (size_t)out_height;
    interpolate(out, out_width, out_height, in, width, height);
    float low = out[0], high = out[0];
    int finite = 1;
    for (size_t i = 0; i < n; i++) {
        finite = finite && isfinite(out[i]);
        low = fminf(low, out[i]);
        high = fmaxf(high, out[i]);
    }
    if (!finite || !(high > low))
        return dfx__fail(DFX_ERROR_ARGUMENT, "the depth map %s",
                         finite ? "is the same everywhere: it says nothing about depth"
                                : "has values that are not finite");
    for (size_t i = 0; i < n; i++)
        out[i] = 2 * (out[i] - low) / (high - low) - 1;
    return DFX_OK;
}
