/* columns.cl - lines of which 16 elements are loaded and stored at once (panel.cl, winograd.cl). */

/* 16 of n elements, zeros after the last one. */
static inline float16 load_columns(__global const T *from, int n)
{
    float line[16];
    if (n >= 16)
        return LOADV16(from, 0);
    for (int i = 0; i < 16; i++)
        line[i] = i < n ? LOAD(from, i) : 0.0f;
    return vload16(0, line);
}

static inline void store_columns(__global T *to, float16 v, int n)
{
    float line[16];
    if (n >= 16) {
        STOREV16(to, 0, v);
        return;
    }
    vstore16(v, 0, line);
    for (int i = 0; i < n; i++)
        STORE(to, i, line[i]);
}
