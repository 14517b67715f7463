/* forward.h - running a component once on given tensors: what the classes' forward functions share.
 * They take the inputs, name the results, and run. */
#ifndef DFX_MODEL_FORWARD_H
#define DFX_MODEL_FORWARD_H

#include "model/model.h"

enum { DFX__FORWARD_TENSORS = 8 };

struct dfx__forward {
    const dfx_tensors *in;
    dfx_tensors *out;
    dfx_sequence *s;
    struct {
        const char *name;
        dfx_spec spec;
        void *data;
    } given[DFX__FORWARD_TENSORS]; /* as the sequence takes them; the data is the run's */
    struct {
        dfx_value *value;
        const char *name;
        float low, high; /* its numbers are brought between them */
    } result[DFX__FORWARD_TENSORS];
    int givens, results;
};

/* The tensor of that name, which must have the rank and the dimensions `dim` (-1: any), as an input
 * of the sequence: in its dtype; or in f32, for numbers that go into sinusoids. */
dfx_status dfx__given_floats(dfx_value **out, dfx__forward *f, const char *name, int rank,
                             const int64_t *dim);
dfx_status dfx__given_numbers(dfx_value **out, dfx__forward *f, const char *name, int rank,
                              const int64_t *dim);

/* [N, channels, H, W] -> [N, H, W, channels] in the sequence's dtype */
dfx_status dfx__given_image(dfx_value **out, dfx__forward *f, const char *name, int channels);

/* Ids below `count`, [batch] or [batch, tokens], given as i32 or i64; or of given numbers [batch]
 * of any type, which must be whole. */
dfx_status dfx__given_ids(dfx_value **out, dfx__forward *f, const char *name, int rank, int count);
dfx_status dfx__given_whole(dfx_value **out, dfx__forward *f, const char *name, int64_t batch,
                            int count);

/* What follows from other inputs; the data becomes the run's. */
dfx_status dfx__given_own(dfx_value **out, dfx__forward *f, const char *name, const dfx_spec *spec,
                          void *data);

/* The first dimension of the first tensor that was taken. */
int64_t dfx__given_batch(const dfx__forward *f);

/* Names a result, in f32; images come out as [N, channels, H, W]. _between: with its numbers
 * brought between low and high. */
void dfx__forward_result(dfx__forward *f, const char *name, dfx_value *y);
void dfx__forward_result_between(dfx__forward *f, const char *name, dfx_value *y, float low,
                                 float high);

/* Prepares, writes what was given, runs, and adds the results to f->out. */
dfx_status dfx__forward_run(dfx__forward *f);

/* Frees what was given; the sequence and the sets of tensors are the caller's. */
void dfx__forward_end(dfx__forward *f);

#endif
