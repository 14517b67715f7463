/* trace.h - the file of --trace: a run's latents after each step, and what came of them. */
#ifndef TRACE_H
#define TRACE_H

#include "dfxcl.h"

/* Start from zeros. */
struct trace {
    dfx_tensors *file; /* NULL: nothing is traced */
    int steps, failed; /* in the file; whether one did not fit */
};

/* Adds the latents after a step, "latents.0000" first. Returns 0, else the run is to stop. */
int trace_step(struct trace *t, const float *latents, const dfx_spec *spec);

/* Adds embeddings and pictures, and writes the file. */
dfx_status trace_save(struct trace *t, const dfx_result *r, const char *path);

#endif
