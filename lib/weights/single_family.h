/* single_family.h - which model a single-file checkpoint is, from its tensors' names and shapes. */
#ifndef DFX_WEIGHTS_SINGLE_FAMILY_H
#define DFX_WEIGHTS_SINGLE_FAMILY_H

#include "weights/single_config.h"

/* Configs that dfx_convert keeps in a file's metadata, "dfx.unet/config.json": what is there is not
 * guessed. */
#define DFX__SINGLE_METADATA "dfx."

/* A component, and where its tensors stand in a file. */
typedef struct {
    const char *name;   /* "text_encoder_2" */
    const char *prefix; /* "conditioner.embedders.1.model." */
    dfx__layout layout;
} dfx__single_part;

enum { DFX__SINGLE_PARTS = 4 };

/* Families differ in their text encoders. */
typedef struct {
    const char *name;         /* "Stable Diffusion 2" */
    dfx__single_part text[2]; /* without a name: there is none */
    int context;              /* published width of the UNet's text */
    int added_sizes;          /* as dfx__fit_rules has it */
    struct {
        int in_channels;
        const char *configs; /* of dfx__published_configs */
        int head_width;
    } variant[5]; /* by the UNet's input channels; the first is the usual one */
} dfx__single_family;

/* What stands in a file. */
typedef struct {
    const dfx__single_family *family;
    const char *configs;
    dfx__fit_rules rules;
    dfx__single_part part[DFX__SINGLE_PARTS];
    int parts;
} dfx__single_file;

/* Of a file that has its configs only the parts are looked for. Errors: DFX_ERROR_UNSUPPORTED (by
 * the name of the family, or no known one), DFX_ERROR_FORMAT (parts of different models). */
dfx_status dfx__single_recognise(dfx__single_file *out, const dfx_tensors *file);

/* The families in the order of recognition; without a name after the last. */
extern const dfx__single_family dfx__single_families[];

/* The parts that all families have. */
extern const dfx__single_part dfx__single_unet, dfx__single_vae;

#endif
