/* winograd.cl - 3x3 convolutions on CPU devices by Winograd's F(4x4, 3x3), in three passes over a
 * chunk of tiles of 4x4 results: V = B^T x B, 36 products M = V U, y = A^T M A.
 *   x [N, H, W, C]   U [36][O / 32][C][32]   y [N, OH, OW, O]
 *   V [36][tiles][pitch], planes v_plane apart   M [36][O / 32][tiles][32], planes m_plane apart
 * The points are 0, +-sqrt(1/2), +-sqrt(2) and infinity; see lib/op/conv2d_winograd.c. */

#include "panel.cl"

#define HALF_ROOT 0.707106781f
#define ROOT 1.41421356f

/* r = B^T d; elements of r are `step` apart. */
static inline void forward(float16 *r, int step, const float16 *d)
{
    float16 even = d[4] - 2.0f * d[2], odd = HALF_ROOT * (d[3] - 2.0f * d[1]);
    r[0] = d[0] - 2.5f * d[2] + d[4];
    r[step] = even + odd;
    r[2 * step] = even - odd;
    even = d[4] - 0.5f * d[2];
    odd = ROOT * (d[3] - 0.5f * d[1]);
    r[3 * step] = even + odd;
    r[4 * step] = even - odd;
    r[5 * step] = d[1] - 2.5f * d[3] + d[5];
}

/* y = A^T m; elements of y are `step` apart. */
static inline void backward(float16 *y, int step, const float16 *m)
{
    float16 s1 = m[1] + m[2], t1 = HALF_ROOT * (m[1] - m[2]);
    float16 s2 = m[3] + m[4], t2 = ROOT * (m[3] - m[4]);
    y[0] = m[0] + (s1 + s2);
    y[step] = t1 + t2;
    y[2 * step] = 0.5f * s1 + 2.0f * s2;
    y[3 * step] = 0.5f * t1 + 2.0f * t2 + m[5];
}

/* 16 of n elements, zeros after the last one. */
static inline float16 load_part(__global const float *from, int n)
{
    float room[16];
    if (n >= 16)
        return vload16(0, from);
    for (int i = 0; i < 16; i++)
        room[i] = i < n ? from[i] : 0.0f;
    return vload16(0, room);
}

static inline void store_part(__global float *to, float16 v, int n)
{
    float room[16];
    if (n >= 16) {
        vstore16(v, 0, to);
        return;
    }
    vstore16(v, 0, room);
    for (int i = 0; i < n; i++)
        to[i] = room[i];
}

/* A work-item transforms the 6x6 pixels that a tile sees. */
WORK_GROUP(1, 1, 1)
void winograd_input(__global const float *restrict x, __global float *restrict v, int H, int W,
                    int C, int across, int down, int top, int left, int first, int v_plane,
                    int pitch)
{
    int tile = get_global_id(0), at = first + tile;
    int image = at / (across * down);
    int y0 = at / across % down * 4 - top, x0 = at % across * 4 - left;
    __global float *to = v + (size_t)tile * pitch;
    for (int c = 0; c < C; c += 16) {
        float16 line[6], part[36], result[6];
#pragma unroll
        for (int i = 0; i < 6; i++) {
            int ix = x0 + i;
#pragma unroll
            for (int j = 0; j < 6; j++) {
                int iy = y0 + j;
                line[j] = 0.0f;
                if (iy >= 0 && iy < H && ix >= 0 && ix < W)
                    line[j] = load_part(x + (((size_t)image * H + iy) * W + ix) * C + c, C - c);
            }
            forward(part + i, 6, line);
        }
#pragma unroll
        for (int j = 0; j < 6; j++) {
            forward(result, 1, part + j * 6);
#pragma unroll
            for (int i = 0; i < 6; i++)
                vstore16(result[i], 0, to + (size_t)(j * 6 + i) * v_plane + c);
        }
    }
}

/* Dimension 0 is tiles in eights, 1 panels, 2 the 36 products. */
#define STEPS 128

WORK_GROUP(1, 1, 1)
void winograd_multiply(__global const float *restrict v, __global const float *restrict u,
                       __global float *restrict m, int C, int v_plane, int pitch, int m_plane,
                       int tiles)
{
    int row = get_global_id(0) * ROWS, panel = get_global_id(1), plane = get_global_id(2);
    __global const float *b = u + ((size_t)plane * get_global_size(1) + panel) * C * 32;
    __global const float *a = v + (size_t)plane * v_plane + (size_t)row * pitch;
    __global float *to = m + (size_t)plane * m_plane + ((size_t)panel * tiles + row) * 32;
    float16 c0[ROWS], c1[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        c0[r] = c1[r] = 0.0f;
    for (int k0 = 0; k0 < C; k0 += STEPS, a += STEPS)
        MULTIPLY(min(STEPS, C - k0), a[(size_t)r * pitch + k])
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        vstore16(c0[r], 0, to + r * 32);
        vstore16(c1[r], 1, to + r * 32);
    }
}

/* A work-item transforms a tile back. */
WORK_GROUP(1, 1, 1)
void winograd_output(__global const float *restrict m, __global const float *restrict bias,
                     __global float *restrict y, int OH, int OW, int O, int across, int down,
                     int first, int m_plane, int tiles)
{
    int tile = get_global_id(0), at = first + tile;
    int image = at / (across * down), y0 = at / across % down * 4, x0 = at % across * 4;
    for (int c = 0; c < O; c += 16) {
        __global const float *from = m + ((size_t)(c / 32) * tiles + tile) * 32 + c % 32;
        float16 line[6], part[24], result[4];
        float16 offset = bias ? load_part(bias + c, O - c) : 0.0f;
#pragma unroll
        for (int i = 0; i < 6; i++) {
#pragma unroll
            for (int j = 0; j < 6; j++)
                line[j] = vload16(0, from + (size_t)(j * 6 + i) * m_plane);
            backward(part + i, 6, line);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            backward(result, 1, part + j * 6);
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (y0 + j < OH && x0 + i < OW)
                    store_part(y + (((size_t)image * OH + y0 + j) * OW + x0 + i) * O + c,
                               result[i] + offset, O - c);
        }
    }
}
