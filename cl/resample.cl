/* resample.cl - x [N, h, w, n] -> y [N, height, width, n]: zeros between x's pixels to `up` times its
 * size, a filter of TAPS on each axis, every `down`th of the results. A group computes a pixel. */

static inline float tap(int t)
{
#if TAPS == 2
    return 0.5f;
#else
    return t == 0 || t == 3 ? 0.125f : 0.375f;
#endif
}

/* The source of what lies at `at` in the larger image; -1: a zero. */
static inline int source(int at, int up, int size, int reflect)
{
    int i = at / up;
    if (at % up)
        return -1;
    if (i >= 0 && i < size)
        return i;
    return !reflect ? -1 : i < 0 ? -i : 2 * size - 2 - i;
}

/* fma, because Intel's CPU runtime of 2026 fails to compile a product and a sum here. */
#define SUM(TYPE, LOAD_, i)                                                                    \
    TYPE sum = (TYPE)(0.0f);                                                                   \
    for (int ty = 0; ty < TAPS; ty++) {                                                        \
        int iy = source(top + ty, up, h, reflect);                                             \
        for (int tx = 0; tx < TAPS && iy >= 0; tx++) {                                         \
            int ix = source(left + tx, up, w, reflect);                                        \
            if (ix >= 0)                                                                       \
                sum = fma((TYPE)(gain * tap(ty) * tap(tx)),                                    \
                          LOAD_(x, ((size_t)iy * w + ix) * n + i), sum);                       \
        }                                                                                      \
    }

WORK_GROUP(LANES, 1, 1)
void resample(int h, int w, int height, int width, int n, int up, int down, int before, int reflect,
              __global const T *restrict x, __global T *restrict y)
{
    int row = get_group_id(1), image = row / height; /* all images' rows, one below the other */
    int top = row % height * down - before, left = (int)get_group_id(0) * down - before;
    int whole = n / WIDTH * WIDTH, lane = get_local_id(0);
    float gain = up * up;
    x += (size_t)image * h * w * n;
    y += ((size_t)row * width + get_group_id(0)) * n;
    for (int i = lane * WIDTH; i < whole; i += LANES * WIDTH) {
        SUM(VEC, LOADV, i)
        STOREV(y, i, sum);
    }
    for (int i = whole + lane; i < n; i += LANES) {
        SUM(float, LOAD, i)
        STORE(y, i, sum);
    }
}
