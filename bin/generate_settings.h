/* generate_settings.h - what dfx generate takes, and what of it does not go together. */
#ifndef GENERATE_SETTINGS_H
#define GENERATE_SETTINGS_H

#include "dfxcl.h"
#include "options.h"

#include <stddef.h>

enum { BATCH_MAX = 256, SIDE_MAX = 32768, STEPS_MAX = 10000 };

struct generate_settings {
    const char *positional_prompt, *prompt, *negative_prompt;
    const char *model, *variant, *device, *dtype, *tile, *scheduler;
    const char *latents, *trace, *output, *init_image, *mask, *depth;
    const char *prompt_2, *negative_prompt_2, *init_latents, *save_latents, *refiner;
    const char *preview, *preview_model;
    int original_size[2], crop[2], target_size[2]; /* width, height; left, top */
    int negative_original_size[2], negative_crop[2], negative_target_size[2];
    float aesthetic_score, negative_aesthetic_score;
    double denoising_start, denoising_end;
    int padding_mask_crop, preview_every, clip_skip, long_prompts, max_multiples, no_boseos_middle,
        steps, width, height, batch, quiet, json;
    float guidance, guidance_rescale, image_guidance;
    int class_label, noise_level;
    double strength;
    struct option_uint64 seed;
    uint64_t memory_limit;
};

extern const struct generate_settings generate_defaults;
extern const struct option generate_options[];
extern const struct positional generate_positionals[];

/* The tile option's value, which has been checked. */
dfx_tile generate_tile(const struct generate_settings *s);

/* Returns EXIT_DONE, or says which settings do not go together and returns the exit status. */
int generate_check(const struct generate_settings *s);

#endif
