/* clblast_space.c - what of CLBlast's kernels can be tuned. The constraints are those of its
 * kernels, as its own tuners have them (CLBlast 1.5 and 1.6). */
#include "device/clblast_space.h"

#include <string.h>

/* Sums that a work-item keeps: more do not fit its registers, and compilers unroll them for
 * minutes. */
enum { MOST_SUMS = 256 };

static int divides(int small, int large)
{
    return small > 0 && large % small == 0;
}

/* ---- Xgemm: matrices in padded tiles ---- */

enum { GEMMK, MWG, NWG, KWG, MDIMC, NDIMC, MDIMA, NDIMB, KWI, VWM, VWN, STRM, STRN, SA, SB, KREG };

static int sums_of_xgemm(const int *v)
{
    return v[MWG] * v[NWG] / (v[MDIMC] * v[NDIMC]);
}

static int fits_xgemm(const int *v, const dfx_device_info *info)
{
    int items = v[MDIMC] * v[NDIMC];
    uint64_t local = sizeof(float) * (uint64_t)(v[SA] * v[KWG] * v[MWG] + v[SB] * v[KWG] * v[NWG]);
    int tiles = divides(v[MDIMC] * v[VWM], v[MWG]) && divides(v[NDIMC] * v[VWN], v[NWG]) &&
                divides(v[MDIMA] * v[VWM], v[MWG]) && divides(v[NDIMB] * v[VWN], v[NWG]) &&
                divides(v[KWI], v[KWG]);
    if (!tiles || (size_t)items > info->max_group || local > info->local_memory ||
        sums_of_xgemm(v) > MOST_SUMS)
        return 0;
    if (v[GEMMK] == 1) /* tiles in registers alone; its groups are counted right for square ones */
        return v[MWG] == v[NWG] && v[KWG] == 1 && v[KWI] == 1 && v[MDIMC] == v[MDIMA] &&
               v[NDIMC] == v[NDIMB] && !v[SA] && !v[SB] && !v[STRM] && !v[STRN] &&
               divides(v[VWN], v[KREG]);
    return v[KWG] > 1 && v[KWI] > 1 && v[KREG] == 1 && divides(items / v[MDIMA], v[KWG]) &&
           divides(items / v[NDIMB], v[KWG]) && divides(v[MDIMA], items) &&
           divides(v[NDIMB], items);
}

/* Each of the two kernels has values of its own for what only the other one uses. */
static void repair_xgemm(int *v)
{
    if (v[GEMMK] == 1) {
        v[NWG] = v[MWG];
        v[KWG] = v[KWI] = 1;
        v[SA] = v[SB] = v[STRM] = v[STRN] = 0;
        v[MDIMA] = v[MDIMC];
        v[NDIMB] = v[NDIMC];
    } else {
        v[KREG] = 1;
        v[KWG] = v[KWG] > 1 ? v[KWG] : 32;
        v[KWI] = v[KWI] > 1 ? v[KWI] : 2;
    }
}

static const int xgemm_starts[][DFX__SPACE_PARAMETERS] = {
    { 0, 32, 32, 32, 8, 8, 8, 8, 2, 4, 4, 0, 0, 1, 1, 1 },     /* any device */
    { 0, 128, 32, 64, 4, 4, 4, 4, 2, 8, 4, 0, 0, 0, 0, 1 },    /* CPUs with vectors */
    { 1, 64, 64, 1, 8, 8, 8, 8, 1, 8, 1, 0, 0, 0, 0, 1 },      /* likewise */
    { 0, 64, 64, 32, 16, 8, 16, 8, 2, 4, 4, 0, 0, 1, 1, 1 },   /* AMD */
    { 1, 64, 64, 1, 16, 8, 16, 8, 1, 2, 8, 0, 0, 0, 0, 16 },   /* Intel's Arc */
    { 0, 128, 64, 16, 32, 8, 32, 16, 2, 2, 2, 0, 0, 1, 1, 1 }, /* NVIDIA */
    { 0, 32, 64, 32, 8, 8, 8, 8, 2, 4, 4, 0, 0, 0, 0, 1 },     /* Mali */
    { 0, 128, 64, 32, 16, 8, 16, 16, 2, 4, 1, 1, 0, 1, 1, 1 }, /* AMD's RDNA */
    { 1, 128, 128, 1, 32, 4, 32, 4, 1, 1, 1, 0, 0, 0, 0, 4 },  /* Intel's CPUs */
};

/* ---- XgemmDirect: any matrices, as they lie ---- */

enum { WGD, MDIMCD, NDIMCD, MDIMAD, NDIMBD, KWID, VWMD, VWND, PADA, PADB };

static int sums_of_direct(const int *v)
{
    return v[WGD] * v[WGD] / (v[MDIMCD] * v[NDIMCD]);
}

static int fits_direct(const int *v, const dfx_device_info *info)
{
    int items = v[MDIMCD] * v[NDIMCD];
    uint64_t local =
        sizeof(float) * (uint64_t)(v[WGD] * (v[WGD] + v[PADA]) + v[WGD] * (v[WGD] + v[PADB]));
    return divides(v[KWID], v[WGD]) && divides(v[MDIMCD] * v[VWMD], v[WGD]) &&
           divides(v[NDIMCD] * v[VWND], v[WGD]) && divides(v[MDIMAD] * v[VWMD], v[WGD]) &&
           divides(v[NDIMBD] * v[VWND], v[WGD]) && divides(v[MDIMAD], items) &&
           divides(v[NDIMBD], items) && divides(items / v[MDIMAD], v[WGD]) &&
           divides(items / v[NDIMBD], v[WGD]) && (size_t)items <= info->max_group &&
           local <= info->local_memory && sums_of_direct(v) <= MOST_SUMS;
}

static const int direct_starts[][DFX__SPACE_PARAMETERS] = {
    { 16, 8, 8, 8, 8, 2, 1, 1, 1, 1 },   { 64, 8, 8, 8, 8, 2, 2, 2, 0, 0 },
    { 32, 8, 8, 8, 8, 8, 4, 4, 0, 0 },   { 32, 16, 8, 16, 8, 2, 2, 2, 1, 1 },
    { 32, 8, 16, 8, 16, 2, 4, 2, 0, 0 }, { 64, 8, 8, 8, 8, 8, 8, 4, 0, 0 },
};

/* ---- copies into padded tiles and out of them ---- */

enum { DIMX, DIMY };

static int fits_copy(const int *v, const dfx_device_info *info)
{
    return (size_t)(v[DIMX] * v[DIMY]) <= info->max_group;
}

enum { SIDE, PIXELS, BORDER };

static int fits_transpose(const int *v, const dfx_device_info *info)
{
    int local = v[PIXELS] * v[PIXELS] * v[SIDE] * (v[SIDE] + v[BORDER]);
    return (size_t)(v[SIDE] * v[SIDE]) <= info->max_group &&
           sizeof(float) * (uint64_t)local <= info->local_memory;
}

static int fits_padtranspose(const int *v, const dfx_device_info *info)
{
    int side = v[PIXELS] * v[SIDE];
    return (size_t)(v[SIDE] * v[SIDE]) <= info->max_group &&
           sizeof(float) * (uint64_t)(side * (side + v[BORDER])) <= info->local_memory;
}

static const int copy_starts[][DFX__SPACE_PARAMETERS] = {
    { 8, 8, 1, 4 },
    { 32, 8, 1, 4 },
    { 32, 16, 2, 4 },
};
static const int pad_starts[][DFX__SPACE_PARAMETERS] = {
    { 16, 8, 2, 1 },
    { 32, 8, 1, 2 },
    { 8, 8, 4, 4 },
};
static const int transpose_starts[][DFX__SPACE_PARAMETERS] = {
    { 4, 4, 0, 1 },
    { 8, 8, 0, 0 },
    { 16, 4, 1, 0 },
};
static const int padtranspose_starts[][DFX__SPACE_PARAMETERS] = {
    { 8, 2, 1 },
    { 8, 8, 0 },
    { 32, 2, 1 },
};
static const int routine_starts[][DFX__SPACE_PARAMETERS] = { { 1024 } };

static int fits_always(const int *v, const dfx_device_info *info)
{
    (void)v;
    (void)info;
    return 1;
}

#define STARTS(list) list, sizeof list / sizeof *list
const dfx__space dfx__spaces[] = {
    { "Xgemm",
      { { "GEMMK", { 0, 1, -1 } },
        { "MWG", { 16, 32, 64, 128, -1 } },
        { "NWG", { 16, 32, 64, 128, -1 } },
        { "KWG", { 1, 16, 32, 64, -1 } },
        { "MDIMC", { 2, 4, 8, 16, 32, -1 } },
        { "NDIMC", { 2, 4, 8, 16, 32, -1 } },
        { "MDIMA", { 2, 4, 8, 16, 32, -1 } },
        { "NDIMB", { 2, 4, 8, 16, 32, -1 } },
        { "KWI", { 1, 2, 8, -1 } },
        { "VWM", { 1, 2, 4, 8, -1 } },
        { "VWN", { 1, 2, 4, 8, -1 } },
        { "STRM", { 0, 1, -1 } },
        { "STRN", { 0, 1, -1 } },
        { "SA", { 0, 1, -1 } },
        { "SB", { 0, 1, -1 } },
        { "KREG", { 1, 2, 4, 8, 16, -1 } } },
      fits_xgemm,
      sums_of_xgemm,
      repair_xgemm,
      STARTS(xgemm_starts) },
    { "XgemmDirect",
      { { "WGD", { 8, 16, 32, 64, -1 } },
        { "MDIMCD", { 8, 16, 32, -1 } },
        { "NDIMCD", { 8, 16, 32, -1 } },
        { "MDIMAD", { 8, 16, 32, -1 } },
        { "NDIMBD", { 8, 16, 32, -1 } },
        { "KWID", { 2, 8, 16, -1 } },
        { "VWMD", { 1, 2, 4, 8, -1 } },
        { "VWND", { 1, 2, 4, 8, -1 } },
        { "PADA", { 0, 1, -1 } },
        { "PADB", { 0, 1, -1 } } },
      fits_direct,
      sums_of_direct,
      NULL,
      STARTS(direct_starts) },
    { "Copy",
      { { "COPY_DIMX", { 8, 16, 32, -1 } },
        { "COPY_DIMY", { 8, 16, 32, -1 } },
        { "COPY_WPT", { 1, 2, 4, 8, -1 } },
        { "COPY_VW", { 1, 2, 4, 8, -1 } } },
      fits_copy,
      NULL,
      NULL,
      STARTS(copy_starts) },
    { "Pad",
      { { "PAD_DIMX", { 8, 16, 32, -1 } },
        { "PAD_DIMY", { 8, 16, 32, -1 } },
        { "PAD_WPTX", { 1, 2, 4, -1 } },
        { "PAD_WPTY", { 1, 2, 4, -1 } } },
      fits_copy,
      NULL,
      NULL,
      STARTS(pad_starts) },
    { "Transpose",
      { { "TRA_DIM", { 4, 8, 16, 32, -1 } },
        { "TRA_WPT", { 1, 2, 4, 8, -1 } },
        { "TRA_PAD", { 0, 1, -1 } },
        { "TRA_SHUFFLE", { 0, 1, -1 } } },
      fits_transpose,
      NULL,
      NULL,
      STARTS(transpose_starts) },
    { "Padtranspose",
      { { "PADTRA_TILE", { 8, 16, 32, -1 } },
        { "PADTRA_WPT", { 1, 2, 4, 8, -1 } },
        { "PADTRA_PAD", { 0, 1, -1 } } },
      fits_padtranspose,
      NULL,
      NULL,
      STARTS(padtranspose_starts) },
    { "GemmRoutine",
      { { "XGEMM_MIN_INDIRECT_SIZE", { 0, 64, 128, 256, 512, 1024, 2048, DFX__NEVER, -1 } } },
      fits_always,
      NULL,
      NULL,
      STARTS(routine_starts) },
    { .kernel = NULL },
};

const dfx__space *dfx__space_of(const char *kernel)
{
    for (const dfx__space *s = dfx__spaces; s->kernel; s++)
        if (strcmp(s->kernel, kernel) == 0)
            return s;
    return NULL;
}

int dfx__space_parameters(const dfx__space *s)
{
    int n = 0;
    while (n < DFX__SPACE_PARAMETERS && s->parameter[n].name)
        n++;
    return n;
}

static int is_listed(const int *value, int wanted)
{
    while (*value >= 0 && *value != wanted)
        value++;
    return wanted >= 0 && *value == wanted;
}

int dfx__space_has(const dfx__space *s, const int *value, const dfx_device_info *info)
{
    for (int i = 0; i < dfx__space_parameters(s); i++)
        if (!is_listed(s->parameter[i].value, value[i]))
            return 0;
    return s->fits(value, info);
}

int dfx__space_read(int *value, const dfx__space *s, const dfx_device_info *info,
                    json_object *parameters)
{
    int n = dfx__space_parameters(s);
    if (!parameters || json_object_object_length(parameters) != n)
        return 0;
    for (int i = 0; i < n; i++) {
        json_object *v = dfx__json_get(parameters, s->parameter[i].name, json_type_int);
        value[i] = v ? json_object_get_int(v) : -1;
    }
    return dfx__space_has(s, value, info);
}

json_object *dfx__space_write(const dfx__space *s, const int *value)
{
    json_object *o = json_object_new_object();
    for (int i = 0; i < dfx__space_parameters(s); i++)
        dfx__json_put(o, s->parameter[i].name, json_object_new_int(value[i]));
    return o;
}
