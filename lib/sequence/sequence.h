/* sequence.h - values, calls and operators as the library's inside sees them. */
#ifndef DFX_SEQUENCE_SEQUENCE_H
#define DFX_SEQUENCE_SEQUENCE_H

#include "core/memory.h"
#include "core/status.h"
#include "dfxcl/op.h"
#include "sequence/fitting.h"
#include "sequence/fitting.h"
#include "sequence/weight.h"

typedef struct dfx_op dfx_op;
typedef struct dfx_call dfx_call;
typedef struct dfx__constant dfx__constant;

struct dfx_value {
    dfx_sequence *sequence;
    dfx_value *next;
    dfx_spec spec;
    const char *name;   /* of inputs and outputs */
    dfx_weight *weight; /* of constants */
    dfx_value *root;    /* whose memory it is: itself, or the value that it reshapes */
    int bad;
    int is_input, is_output;
    int invariant;    /* of roots: it follows from constants and invariant inputs alone */
    int kept;         /* of roots: its memory is an output, or holds for the next run */
    int first, last;  /* of roots: the calls that write it and read it last; -1 before any */
    dfx__place place; /* of roots, once prepared */
};

enum {
    DFX__MAX_INPUTS = 6,
    DFX__MAX_INTS = 10,
    DFX__MAX_FLOATS = 2,
    DFX__MAX_PARTS = 4,
    DFX__MAX_WAYS = 16,
    DFX__MAX_DEPTH = 16
};

/* Rows, channels and sides that OpenCL kernels count with an int, with room for a tile beyond the
 * last; elements are numbered with size_t. */
enum { DFX__MAX_COUNT = INT32_MAX - (1 << 20) };

struct dfx_call {
    const dfx_op *op;
    dfx_sequence *sequence;
    const char *path;               /* of the block that records it */
    dfx_value *in[DFX__MAX_INPUTS]; /* NULL where an optional one is not given */
    dfx_value *out;
    int64_t i[DFX__MAX_INTS];
    float f[DFX__MAX_FLOATS];
    float rounding; /* set by infer: error of what some variants round on their way, as a part of
                     * the result's scale */
    const struct dfx__variant *variant;       /* the rest: once prepared */
    dfx__constant *constant[DFX__MAX_INPUTS]; /* NULL where an input is none */
    dfx__place scratch;
    dfx__place part[DFX__MAX_PARTS]; /* of the scratch memory, with DFX_DEBUG=separate */
    dfx__prepared **launch;
    int launches;
    double seconds; /* spent so far, with DFX_DEBUG=time */
    int runs;       /* begun so far */
};

/* A weight in one format and dtype, as calls of a prepared sequence take it. */
struct dfx__constant {
    dfx_weight *weight;
    dfx__format format;
    dfx_dtype dtype;
    size_t bytes;           /* on the device */
    int first, last;        /* calls that take it */
    int group;              /* of the weights that are streamed; -1: it stays on the device, */
    dfx__weight_copy *copy; /* here */
    dfx__place place;
};

/* A call's memory as the native CPU sees it. Constants are in the variant's format, vectors as in
 * the file, and in the dtype of dfx__constant_dtype. */
typedef struct {
    const void *in[DFX__MAX_INPUTS];
    void *out, *scratch;
} dfx__host;

struct dfx__launches;

/* What a variant may say to a call beside 0 and 1 (it is worth measuring): it can, but another one
 * is better, and it runs where it is asked for by name; or it runs where nothing else can, too. */
enum { DFX__ASKED = 2, DFX__LAST = 3 };

/* One way to do an operator. */
typedef struct dfx__variant {
    const char *name;
    int (*accepts)(const dfx_call *c, const dfx_device *d); /* see DFX__ASKED; NULL: 1 */
    dfx__format format;                                     /* of constants of rank 2 and more */
    size_t (*scratch)(const dfx_call *c);                   /* bytes; NULL: none */
    void (*launch)(const dfx_call *c, struct dfx__launches *l); /* OpenCL: adds its launches */
    void (*run)(const dfx_call *c, const dfx__host *h);         /* native CPU */
} dfx__variant;

/* A call for tests, selftest and bench: shapes as "2,17,31,96", after 'w' for a constant, after 'i'
 * for indices (i32, below the first dimension of the constant), after 't' for timesteps (f32). A
 * vector beside other inputs is a constant. NULL: not given. */
typedef struct {
    const char *in[DFX__MAX_INPUTS];
    int64_t i[DFX__MAX_INTS];
    float f[DFX__MAX_FLOATS];
} dfx__case;

/* An operator: its file in lib/op, its kernels in cl/ under the same name. */
struct dfx_op {
    const char *name;
    void (*infer)(dfx_call *c);         /* checks the inputs, sets out->spec */
    double (*flops)(const dfx_call *c); /* NULL: an operation for each element */
    const dfx__variant *cpu; /* native: in order of preference; the last is the reference, see
                                dfx__variant_reference */
    const dfx__variant *cl;  /* OpenCL: in order of preference; ends with a nameless one */
    const dfx__case *cases;  /* ends with one without inputs */
    float
        tolerance; /* allowed error in f32 as a multiple of 1e-6 of the result's scale; 0: exact */
};

/* A call's attributes by value: DFX__IN(x, scale, shift), DFX__INTS(groups), DFX__FLOATS(eps). */
typedef struct {
    dfx_value *v[DFX__MAX_INPUTS];
} dfx__inputs;
typedef struct {
    int64_t v[DFX__MAX_INTS];
} dfx__ints;
typedef struct {
    float v[DFX__MAX_FLOATS];
} dfx__floats;
#define DFX__IN(...) ((dfx__inputs){ { __VA_ARGS__ } })
#define DFX__INTS(...) ((dfx__ints){ { __VA_ARGS__ } })
#define DFX__FLOATS(...) ((dfx__floats){ { __VA_ARGS__ } })

/* Appends a call; in.v[0] must be given. Returns its result, which is bad after an error. */
dfx_value *dfx__record(const dfx_op *op, dfx__inputs in, dfx__ints i, dfx__floats f);

/* Prints what running took by operator and variant, where it was timed (profile.c). */
void dfx__profile_print(const dfx_sequence *s);

/* What a call does; an operation for each element where its operator counts none. */
double dfx__call_flops(const dfx_call *c);

/* From infer: the call cannot be made. The first failure is the sequence's error. */
void dfx__call_fail(dfx_call *c, const char *format, ...) DFX__PRINTF(2, 3);

/* For group norms: *moments becomes the input that their moments come from, or NULL where they are
 * x's own, or a bad value where recording ends. */
void dfx__moments_next(dfx_value **moments, dfx_value *x, int groups);

/* A value that was not made, without an error. */
dfx_value *dfx__value_bad(dfx_sequence *s);

/* Keeps the first error of a recording, for blocks that find one themselves. */
void dfx__sequence_fail(dfx_sequence *s, dfx_status status, const char *format, ...)
    DFX__PRINTF(3, 4);

struct dfx_sequence {
    dfx_device *device;
    dfx_dtype dtype;
    dfx__pool pool;    /* values, calls, names */
    dfx_value *values; /* all, the newest first */
    dfx_call **call;
    int calls, call_room;
    int kept_calls;                     /* once prepared: so many come first, whose results are
                                         * invariant */
    char path[512];                     /* of the block that records now */
    size_t path_length[DFX__MAX_DEPTH]; /* before each push */
    int depth;
    const char *path_copy; /* path in the pool; NULL after it changed */
    dfx_status status;     /* of the recording: the first failure */
    const char *message;
    dfx_value none; /* bad: stands for values without memory, and is never NULL */
    int prepared;
    int settled; /* its calls' variants were given and stay */
    dfx__buffer **arena;
    int arenas;
    dfx__constant *constant; /* all, in the order of their first calls */
    int constants;
    int may_stream;
    int gives_moments, moments_given, norms; /* see fitting.h; norms recorded so far */
    dfx__norm_without norm_without;
    struct dfx__stream *stream; /* stream.c; NULL: all weights stay on the device */
    int rehearsed;              /* prepared without memory (dfx__rehearse): it does not run */
    int check, time, separate;  /* DFX_DEBUG */
    int stale;                  /* the kept calls are to run: no run came to its end since they, or
                                 * their inputs, were new */
    const struct dfx__variant *forced; /* by the selftest: of every call that it accepts */
    dfx_sequence_info info;
};

/* A range of memory that a plan places. */
typedef struct {
    size_t bytes;
    int first, last; /* calls between which it is needed, both included */
    int arena;       /* the plan's answer */
    size_t offset;
} dfx__plan_item;

/* Places items into arenas of at most `largest` bytes so that those needed at the same time do not
 * overlap; offsets are multiples of `align`. size[a] receives an arena's bytes; returns the number
 * of arenas, at most max_arenas, or -1 if more were needed. */
int dfx__plan(dfx__plan_item *item, int items, size_t align, size_t largest, size_t *size,
              int max_arenas);

/* Values' and scratch memory, and constants: what a sequence needs on its device, of which nothing
 * is made unless all of it fits. Its calls have their variants. Errors: DFX_ERROR_MEMORY. */
dfx_status dfx__memory_prepare(dfx_sequence *s);
void dfx__memory_release(dfx_sequence *s);

/* Chooses the constants that are streamed, so that of `missing` bytes, which the device has not
 * yet, no more than `room` are needed. Errors: DFX_ERROR_MEMORY (they are too large for it). */
dfx_status dfx__stream_plan(dfx_sequence *s, size_t missing, size_t room);
dfx_status dfx__stream_prepare(dfx_sequence *s);
void dfx__stream_release(dfx_sequence *s);
/* Before call k of a run (see dfx__run_next): what it needs is on its way, and what comes next
 * begins to be. */
dfx_status dfx__stream_before(dfx_sequence *s, int k);

/* Where an input of a prepared call lies; no buffer where it is not given. */
dfx__place dfx__input_place(const dfx_call *c, int input);

/* The variants of which one will run a call on its device, in order of preference: the forced one
 * or that of DFX_VARIANT=op:name,op:name where it accepts, else all that are worth measuring, else
 * one that is the last resort; without those that the device gets wrong (device/faults.h). Returns
 * how many, 0 when the device has no way to do it. */
int dfx__variant_list(const dfx__variant **way, const dfx_call *c);

/* The same, and behind them what else the device can do the call in: *all in total. */
int dfx__variant_list_all(const dfx__variant **way, const dfx_call *c, int *all);

/* The error for a call that has none: whether the device gets all of them wrong. */
dfx_status dfx__variant_missing(const dfx_call *c);

/* The first of them, or NULL. */
const dfx__variant *dfx__variant_choose(const dfx_call *c);

/* The variant with which the native CPU checks the others and any device: the plainest. It takes
 * every call: its `accepts` is NULL, or dfx__takes_last, which says DFX__LAST, where it is too slow
 * to be measured beside the others. */
const dfx__variant *dfx__variant_reference(const dfx_op *op);
int dfx__takes_last(const dfx_call *c, const dfx_device *d);

/* Chooses the variants of all calls that have none: of several the fastest, as it was measured on
 * this device now or before (tune.c). NULL stays where there is none. */
dfx_status dfx__tune(dfx_sequence *s);

/* What came of a call; the texts live as long as the report's call. */
typedef struct {
    const char *op, *call; /* the call: shapes and numbers */
    const char *variant;   /* the fastest way */
    int ways, wrong;       /* measured; those that were not the CPU's, or did not run */
    double seconds, first; /* of the fastest way, of the first in order */
} dfx__tuned_call;

/* Measures the calls of a recorded sequence in all ways that the device has, those too that other
 * ones are usually better than, where that was not done yet; a way counts where its result is the
 * CPU's. Ways that are seldom good are tried where others take little time. Reports after each call
 * and before the first, with NULL; something else than 0 ends it. The sequence is not to be
 * prepared afterwards. */
typedef int dfx__tune_report(void *user, const dfx__tuned_call *call);
dfx_status dfx__tune_all(dfx_sequence *s, dfx__tune_report *report, void *user);
/* After a call failed on its device, where errors of drivers appear (kernels that cannot be built):
 * another variant is to be chosen for its like from now on, and the log says so. 0, and the error
 * says what to do, where there is none. */
int dfx__do_without(const dfx_call *failed);

/* Gives back what preparing took, so that it can be done again. */
void dfx__unprepare(dfx_sequence *s);

/* Runs one call; its seconds grow where the sequence is timed. */
dfx_status dfx__run_call(dfx_call *c);

/* Call k of a run, with the weights that it needs; an error names its block. A run has all calls
 * after the kept ones, in their order, and before them the kept ones where they are stale. */
dfx_status dfx__run_next(dfx_sequence *s, int k);

/* How a constant is stored on the device: rank 2 and more in the sequence's dtype, in DFX__PANELS
 * in the file's f16 or bf16 where the sequence's is f32 (nothing is lost), vectors in f32. */
dfx_dtype dfx__constant_dtype(const dfx_sequence *s, const dfx_weight *w, dfx__format format);

/* Where two results differ most: the error as a multiple of the allowed one, the element's index
 * and what the two have there. */
typedef struct {
    double worst;
    size_t where;
    float want, got;
} dfx__difference;

/* Computes a call that has run with the native CPU's version, from the inputs as they lie on the
 * device, and compares. */
dfx_status dfx__check_call(const dfx_call *c, dfx__difference *d);

#endif
