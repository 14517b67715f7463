/* winograd.cl - 3x3 convolutions on CPU devices by Winograd's F(OUT x OUT, 3x3) over a chunk of tiles
 * of OUT x OUT results: V = B^T x B; then for a panel of 32 outputs and a block of tiles
 * U = G g G^T, PLANES products M = V U, and y = A^T M A.
 *   x [N, H, W, C]   g in panels [O / 32][9][C][32] (with PAIRS [O / 32][9][ceil(C / 2)][32][2])
 *   y [N, OH, OW, O]   V [PLANES][tiles][pitch], planes v_plane apart
 *   next: the first task that nobody has taken
 * A worker's room: U [PLANES][PART][32], planes u_plane apart, and M [PLANES][block][32], m_plane
 * apart. The points of OUT 4 are 0, +-sqrt(1/2), +-sqrt(2) and infinity, of OUT 6 0, +-1, +-2,
 * +-1/2 and infinity; see lib/op/conv2d_winograd.c. */

#include "columns.cl"

#define IN (OUT + 2)
#define PLANES (IN * IN)

#if OUT == 4

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

/* u = G g; elements of u are `step` apart. */
static inline void spread(float16 *u, int step, const float16 *g)
{
    float16 even = g[0] * (-2.0f / 3) - g[2] * (1.0f / 3), odd = g[1] * (HALF_ROOT * -2 / 3);
    u[0] = g[0];
    u[step] = even + odd;
    u[2 * step] = even - odd;
    even = g[0] * (1.0f / 6) + g[2] * (1.0f / 3);
    odd = g[1] * (ROOT / 6);
    u[3 * step] = even + odd;
    u[4 * step] = even - odd;
    u[5 * step] = g[2];
}

#else

static inline void forward(float16 *r, int step, const float16 *d)
{
    r[0] = d[0] - d[6] + 5.25f * (d[4] - d[2]);
    float16 even = d[2] + d[6] - 4.25f * d[4], odd = d[1] + d[5] - 4.25f * d[3];
    r[step] = even + odd;
    r[2 * step] = even - odd;
    even = d[6] + 0.25f * d[2] - 1.25f * d[4];
    odd = 0.5f * d[1] - 2.5f * d[3] + 2.0f * d[5];
    r[3 * step] = even + odd;
    r[4 * step] = even - odd;
    even = d[6] + 4.0f * d[2] - 5.0f * d[4];
    odd = 2.0f * d[1] - 2.5f * d[3] + 0.5f * d[5];
    r[5 * step] = even + odd;
    r[6 * step] = even - odd;
    r[7 * step] = d[7] - d[1] + 5.25f * (d[3] - d[5]);
}

static inline void backward(float16 *y, int step, const float16 *m)
{
    float16 s1 = m[1] + m[2], t1 = m[1] - m[2], s2 = m[3] + m[4], t2 = m[3] - m[4];
    float16 s3 = m[5] + m[6], t3 = m[5] - m[6];
    y[0] = m[0] + s1 + s2 + 32.0f * s3;
    y[step] = t1 + 2.0f * t2 + 16.0f * t3;
    y[2 * step] = s1 + 4.0f * s2 + 8.0f * s3;
    y[3 * step] = t1 + 8.0f * t2 + 4.0f * t3;
    y[4 * step] = s1 + 16.0f * s2 + 2.0f * s3;
    y[5 * step] = t1 + 32.0f * t2 + t3 + m[7];
}

static inline void spread(float16 *u, int step, const float16 *g)
{
    float16 even = (g[0] + g[2]) * (-2.0f / 9), odd = g[1] * (-2.0f / 9);
    u[0] = g[0];
    u[step] = even + odd;
    u[2 * step] = even - odd;
    even = g[0] * (1.0f / 90) + g[2] * (2.0f / 45);
    odd = g[1] * (1.0f / 45);
    u[3 * step] = even + odd;
    u[4 * step] = even - odd;
    even = g[0] * (1.0f / 45) + g[2] * (1.0f / 180);
    odd = g[1] * (1.0f / 90);
    u[5 * step] = even + odd;
    u[6 * step] = even - odd;
    u[7 * step] = g[2];
}

#endif

#ifndef ROWS

/* A work-item transforms the IN x IN pixels that a tile sees, of a picture of height x width to which x
 * is resized. */
WORK_GROUP(1, 1, 1)
void winograd_input(__global const T *restrict x, __global float *restrict v,
                    __global int *restrict next, int H, int W_, int C,
                    int height, int width, int across, int down, int top, int left, int first,
                    int v_plane, int pitch)
{
    int tile = get_global_id(0), at = first + tile;
    int image = at / (across * down);
    int y0 = at / across % down * OUT - top, x0 = at % across * OUT - left;
    __global float *to = v + (size_t)tile * pitch;
    __global const T *pixel[PLANES];
    if (tile == 0)
        *next = 0;
    for (int i = 0; i < PLANES; i++) {
        int iy = y0 + i / IN, ix = x0 + i % IN;
        pixel[i] = 0;
        if (iy >= 0 && iy < height && ix >= 0 && ix < width) {
            iy = height == H ? iy : (int)((long)iy * H / height);
            ix = width == W_ ? ix : (int)((long)ix * W_ / width);
            pixel[i] = x + (((size_t)image * H + iy) * W_ + ix) * C;
        }
    }
    for (int c = 0; c < C; c += 16) {
        float16 line[IN], part[PLANES], result[IN];
#pragma unroll
        for (int i = 0; i < IN; i++) {
#pragma unroll
            for (int j = 0; j < IN; j++) {
                line[j] = 0.0f;
                if (pixel[j * IN + i])
                    line[j] = load_columns(pixel[j * IN + i] + c, C - c);
            }
            forward(part + i, IN, line);
        }
#pragma unroll
        for (int j = 0; j < IN; j++) {
            forward(result, 1, part + j * IN);
#pragma unroll
            for (int i = 0; i < IN; i++)
                STORE_FLOATS(to + (size_t)(j * IN + i) * v_plane + c, result[i]);
        }
    }
}

#else

/* U for a vector of outputs of one input. */
static inline void window(__global float *to, int plane, const float16 *g)
{
    float16 line[3], part[3 * IN], result[IN];
#pragma unroll
    for (int i = 0; i < 3; i++) {
#pragma unroll
        for (int j = 0; j < 3; j++)
            line[j] = g[j * 3 + i];
        spread(part + i, 3, line);
    }
#pragma unroll
    for (int j = 0; j < IN; j++) {
        spread(result, 1, part + j * 3);
#pragma unroll
        for (int i = 0; i < IN; i++)
            STORE_FLOATS(to + (j * IN + i) * plane, result[i]);
    }
}

/* The weight comes from memory, in as many streams as taps: it is asked for some lines ahead, at the
 * end of a part those of the next one. */
#define AHEAD (6 * 128) /* bytes: lines of f32 and of pairs are 128 */
#define FETCH_AHEAD(line) FETCH((size_t)(line) + AHEAD)

/* U of n inputs from `first` on of a panel. */
static inline void transform(__global float *u, int plane, __global const W *panel, int C, int first,
                             int n)
{
#ifdef PAIRS
    __global const uint *pairs = (__global const uint *)panel;
    size_t lines = (C + 1) / 2;
    for (int k = 0; k < n; k += 2)
        for (int o = 0; o < 32; o += 16) {
            float16 even[9], odd[9];
#pragma unroll
            for (int t = 0; t < 9; t++) {
                __global const uint *at = pairs + (t * lines + (first + k) / 2) * 32 + o;
                FETCH_AHEAD(at);
                uint16 both = vload16(0, at);
                even[t] = as_float16(both << 16);
                odd[t] = as_float16(both & 0xffff0000u);
            }
            window(u + k * 32 + o, plane, even);
            window(u + (k + 1) * 32 + o, plane, odd);
        }
#else
    for (int k = 0; k < n; k++)
        for (int o = 0; o < 32; o += 16) {
            float16 g[9];
#pragma unroll
            for (int t = 0; t < 9; t++) {
                __global const W *at = panel + ((size_t)t * C + first + k) * 32 + o;
                FETCH_AHEAD(at);
                g[t] = LOADWV16(at, 0);
            }
            window(u + k * 32 + o, plane, g);
        }
#endif
}

/* One plane: m [count][32] += v [count][n] u [n][32]; rows after the last one repeat it. */
static inline void multiply(__global float *m, __global const float *v, __global const float *u,
                            int pitch, int count, int n, int fresh)
{
    for (int row = 0; row < count; row += ROWS, m += ROWS * 32) {
        __global const float *a[ROWS];
        float16 c0[ROWS], c1[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            a[r] = v + (size_t)min(row + r, count - 1) * pitch;
            c0[r] = c1[r] = 0.0f;
        }
        for (int k = 0; k < n; k++) {
            float16 b0 = LOAD_FLOATS(u + k * 32), b1 = LOAD_FLOATS(u + k * 32 + 16);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                float16 e = (float16)(a[r][k]);
                c0[r] = fma(e, b0, c0[r]);
                c1[r] = fma(e, b1, c1[r]);
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            __global float *to = m + r * 32;
            STORE_FLOATS(to, fresh ? c0[r] : c0[r] + LOAD_FLOATS(to));
            STORE_FLOATS(to + 16, fresh ? c1[r] : c1[r] + LOAD_FLOATS(to + 16));
        }
    }
}

/* Transforms 16 columns of a tile back and stores the pixels that the result has; y and add begin
 * at its first pixel. */
static inline void transform_back(__global T *y, __global const T *add, __global const float *m,
                                  int plane, float16 offset, int height, int width, int OW, int O,
                                  int n)
{
    float16 line[IN], part[OUT * IN], result[OUT];
#pragma unroll
    for (int i = 0; i < IN; i++) {
#pragma unroll
        for (int j = 0; j < IN; j++)
            line[j] = LOAD_FLOATS(m + (j * IN + i) * plane);
        backward(part + i, IN, line);
    }
#pragma unroll
    for (int j = 0; j < OUT; j++) {
        backward(result, 1, part + j * IN);
#pragma unroll
        for (int i = 0; i < OUT; i++)
            if (j < height && i < width) {
                size_t at = ((size_t)j * OW + i) * O;
                float16 sum = result[i] + offset;
                if (add)
                    sum += load_columns(add + at, n);
                store_columns(y + at, sum, n);
            }
    }
}

/* What is added to 16 outputs of every pixel of an image. */
static inline float16 load_offset(__global const float *bias, __global const T *channels, int n)
{
    float room[16];
    for (int i = 0; i < 16; i++)
        room[i] = (bias && i < n ? bias[i] : 0.0f) + (channels && i < n ? LOAD(channels, i) : 0.0f);
    return vload16(0, room);
}

/* A work-item takes tasks, each a panel of a block of tiles, as long as there are any: a core that
 * other programs want too gets fewer. */
WORK_GROUP(1, 1, 1)
void winograd_blocks(__global const float *restrict v, __global const W *restrict w,
                     __global const float *restrict bias, __global const T *restrict channels,
                     __global const T *restrict add, __global T *restrict y,
                     __global float *restrict room, volatile __global int *next, int C, int OH,
                     int OW, int O, int across, int down, int first, int tiles, int block,
                     int v_plane, int u_plane, int m_plane, int pitch, int tasks)
{
    int panels = (O + 31) / 32;
    __global float *u = room + (size_t)get_global_id(0) * PLANES * (u_plane + m_plane);
    __global float *m = u + PLANES * u_plane;
    for (int task = atomic_inc(next); task < tasks; task = atomic_inc(next)) {
        int panel = task % panels, tile = task / panels * block, count = min(block, tiles - tile);
#ifdef PAIRS
        __global const W *weight = w + (size_t)panel * 9 * ((C + 1) / 2 * 2) * 32;
#else
        __global const W *weight = w + (size_t)panel * 9 * C * 32;
#endif
        for (int k = 0; k < C; k += PART) {
            int n = min(PART, C - k);
            transform(u, u_plane, weight, C, k, n);
            for (int plane = 0; plane < PLANES; plane++)
                multiply(m + plane * m_plane, v + (size_t)plane * v_plane + (size_t)tile * pitch + k,
                         u + plane * u_plane, pitch, count, n, k == 0);
        }
        for (int t = 0; t < count; t++) {
            int at = first + tile + t, image = at / (across * down);
            int y0 = at / across % down * OUT, x0 = at % across * OUT;
            size_t pixel = (((size_t)image * OH + y0) * OW + x0) * O;
            for (int c = panel * 32; c < min(O, panel * 32 + 32); c += 16)
                transform_back(y + pixel + c, add ? add + pixel + c : add, m + t * 32 + c % 32,
                               m_plane,
                               load_offset(bias ? bias + c : bias,
                                           channels ? channels + (size_t)image * O + c : channels,
                                           O - c),
                               OH - y0, OW - x0, OW, O, O - c);
        }
    }
}

#endif
