/* preview.h - a picture of a run between its steps. */
#ifndef PREVIEW_H
#define PREVIEW_H

#include "progress.h"

#include "dfxcl.h"

/* How previews are made, and of what; start from zeros. */
struct preview {
    const char *path;   /* F.png; of several pictures F-1.png, F-2.png ...; NULL: none are made */
    int every;          /* after so many steps each, and after the last one; 0: 1 */
    dfx_model *vae;     /* decodes; NULL: the pipeline's own */
    int made;           /* so many steps were shown */
    char failure[1024]; /* of the first one, which stops the run */
};

/* Opens the autoencoder `model`, unless that is NULL. Returns the exit status. */
int preview_open(struct preview *v, const char *model);
void preview_close(struct preview *v);

/* Replaces the pictures by those of the latents after `step` of `steps`. One that fails later than
 * the first is said, and no more are made. Returns 0, else the run is to stop. */
int preview_step(struct preview *v, dfx_pipeline *p, struct progress *progress, int step, int steps,
                 const float *latents, const dfx_spec *spec);

#endif
