/* dfxcl/sequence.h - a model recorded as a sequence of kernel calls, prepared once, run many times.
 *
 *     dfx_sequence *s;
 *     dfx_sequence_new(&s, device, DFX_F32);
 *     dfx_value *x = dfx_input(s, "x", DFX_F32, 2, (int64_t[]){ 4, 320 });
 *     dfx_output(dfx_silu(x), "y");
 *     dfx_sequence_prepare(s);
 *     dfx_sequence_write(s, "x", host, sizeof host);
 *     dfx_sequence_run(s);
 *     dfx_sequence_read(s, "y", host, sizeof host);
 *
 * Recording never needs a check: a call that cannot be made returns a bad value, calls on bad
 * values do nothing, and dfx_sequence_prepare returns the first error with the path of its block.
 */
#ifndef DFXCL_SEQUENCE_H
#define DFXCL_SEQUENCE_H

#include "dfxcl/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfx_sequence dfx_sequence;
typedef struct dfx_value dfx_value;   /* belongs to its sequence */
typedef struct dfx_weight dfx_weight; /* belongs to its model; several sequences can use it */

/* A new empty sequence on `device`, which must outlive it. `dtype` (f32, f16 or bf16) is how
 * activations and weights are stored; sums are always kept in f32. */
DFX_API dfx_status dfx_sequence_new(dfx_sequence **out, dfx_device *device, dfx_dtype dtype);
DFX_API void dfx_sequence_free(dfx_sequence *s);

/* A value that the caller writes before running. Its content stays until written again. */
DFX_API dfx_value *dfx_input(dfx_sequence *s, const char *name, dfx_dtype dtype, int rank,
                             const int64_t *dim);

/* The input stays as it is for several runs, as a prompt does from step to step: what follows from
 * such inputs and constants alone is computed in the first run after one of them was written, and
 * kept for the next ones. Calls that were recorded on it before are computed in each run. Error,
 * when preparing: DFX_ERROR_ARGUMENT (it is no input). */
DFX_API void dfx_invariant(dfx_value *input);

/* A model's weight as a value. Weights of rank 2 and more are stored in the sequence's dtype,
 * vectors in f32. */
DFX_API dfx_value *dfx_constant(dfx_sequence *s, dfx_weight *weight);

/* Names a value that the caller reads after running. */
DFX_API void dfx_output(dfx_value *v, const char *name);

/* The path in error messages and profiles: blocks push their name while they record. */
DFX_API void dfx_push(dfx_sequence *s, const char *name);
DFX_API void dfx_pop(dfx_sequence *s);

/* Shape and type of a value; of a bad value rank is 0. */
DFX_API const dfx_spec *dfx_value_spec(const dfx_value *v);

/* Plans memory, chooses kernels, compiles them, packs and uploads weights. Returns the first error
 * of the recording if there was one. */
DFX_API dfx_status dfx_sequence_prepare(dfx_sequence *s);

/* Copies a whole input or output between host and device. `bytes` must be its size. Errors:
 * DFX_ERROR_ARGUMENT (no such name, another size). */
DFX_API dfx_status dfx_sequence_write(dfx_sequence *s, const char *name, const void *data,
                                      size_t bytes);
DFX_API dfx_status dfx_sequence_read(dfx_sequence *s, const char *name, void *data, size_t bytes);

/* Runs all calls and waits for them. With DFX_DEBUG=check in the environment each call is compared
 * with the native CPU as it runs; with DFX_DEBUG=time a profile by operator is printed when the
 * sequence is freed. With DFX_DEBUG=separate values share no buffers and none is used again (for
 * oclgrind, which takes what is read through a part of a buffer, or from where one was before, for
 * uninitialised). */
DFX_API dfx_status dfx_sequence_run(dfx_sequence *s);

/* What a prepared sequence takes and does. */
typedef struct {
    uint64_t activation_bytes; /* planned arenas, scratch included */
    uint64_t weight_bytes;     /* packed weights that this sequence uses */
    uint64_t streamed_bytes;   /* of these: they are on the host, and move to the device */
    uint64_t moved_bytes;      /* of those: in each run; the others' results are kept (see
                                * dfx_invariant) */
    uint64_t largest_buffer;   /* bytes of the largest buffer that it needs */
    double flops;              /* of one run, without what is kept from an earlier one (see
                                * dfx_invariant): multiply and add count as two */
    int calls, launches;
} dfx_sequence_info;
DFX_API dfx_status dfx_sequence_get_info(const dfx_sequence *s, dfx_sequence_info *out);

#ifdef __cplusplus
}
#endif
#endif
