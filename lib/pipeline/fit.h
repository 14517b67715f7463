/* fit.h - sequences of a pipeline's components, made to fit into the device's memory. */
#ifndef DFX_PIPELINE_FIT_H
#define DFX_PIPELINE_FIT_H

#include "pipeline/pipeline.h"

/* A sequence to be made: `record` records it for `user`, more than once where that is needed. */
typedef struct {
    const char *name; /* of the component and, where it does several things, what: for people */
    dfx_dtype dtype;
    void (*record)(const void *user, dfx_sequence *s);
    const void *user;
    int tiles; /* the component's work is cut: the sequence does so many of its tiles, and is a row
                * of the plan together with its others; 0: it is not */
} dfx__job;

/* Prepares a job's sequence on the pipeline's device. Where memory is short, what is kept of other
 * components goes; then some of its weights stay on the host and are streamed; then the native CPU
 * does it. What was chosen is said, or becomes a part of the plan that is made. Errors: those of
 * dfx_sequence_prepare. */
dfx_status dfx__fit(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job);

/* The first two ways and the last two on their own, for components that have more to try between
 * them. */
dfx_status dfx__fit_whole(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job);
dfx_status dfx__fit_anyhow(dfx_sequence **out, dfx_pipeline *p, const dfx__job *job);

/* Goes through a run without computing, so that what does not fit is known before work begins. What
 * is prepared for other runs goes. *plan, unless it is NULL, becomes what the run will take. */
dfx_status dfx__rehearse_run(dfx_plan **plan, dfx_pipeline *p, const dfx_generate_options *o);

/* A prepared sequence becomes a part of the plan that is made; nothing outside of a rehearsal. */
dfx_status dfx__plan_add(dfx_pipeline *p, const dfx_device *d, const dfx__job *job,
                         const dfx_sequence *s);

/* Whether sequences are kept that an earlier run has used. */
int dfx__keeps_any(const dfx_pipeline *p);

#endif
