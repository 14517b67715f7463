/* linked_test.h - models of pipelines as links to the components of several fixtures' folders. */
#ifndef LINKED_TEST_H
#define LINKED_TEST_H

#include "folder_test.h"
#include "pipeline_test.h"

#include <limits.h>

/* Folders of tests/data: a model's own, those that have what it does not, and one of its UNet or
 * NULL. A list ends with one without a name. */
struct linked {
    const char *model, *own, *next, *last, *unet;
};

static const char *const linked_parts[] = {
    "model_index.json", "scheduler",      "text_encoder",     "tokenizer", "unet", "vae",
    "tokenizer_2",      "text_encoder_2", "low_res_scheduler"
};
enum { LINKED_PARTS = sizeof linked_parts / sizeof *linked_parts };

static inline void link_part(const struct linked *m, const char *part)
{
    const char *const folders[] = { m->own, m->next, m->last };
    char path[256], absolute[PATH_MAX];
    if (m->unet && strcmp(part, "unet") == 0)
        snprintf(path, sizeof path, "%s", m->unet);
    for (int i = 0; !(m->unet && strcmp(part, "unet") == 0) && i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folders[i], part);
        if (access(data(path), F_OK) == 0)
            break;
    }
    if (realpath(data(path), absolute) && symlink(absolute, in_folder(part)) != 0)
        exit(99);
}

/* Opens the model of that name, linked in the test's folder. */
static inline dfx_pipeline *open_linked(const struct linked *models, const char *name,
                                        const char *device)
{
    dfx_pipeline_options o = { .device = device, .dtype = "f32" };
    dfx_pipeline *p;
    const struct linked *m = models;
    while (strcmp(m->model, name) != 0)
        m++;
    for (int i = 0; i < LINKED_PARTS; i++)
        link_part(m, linked_parts[i]);
    dfx_status status = dfx_pipeline_open(&p, folder, &o);
    ok(status == DFX_OK, "%s opens on %s: %s", name, device, status ? dfx_error() : "");
    return p;
}

static inline void close_linked(dfx_pipeline *p)
{
    dfx_pipeline_free(p);
    for (int i = 0; i < LINKED_PARTS; i++)
        unlink(in_folder(linked_parts[i]));
}

#endif
