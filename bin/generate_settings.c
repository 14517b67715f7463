/* generate_settings.c - the options of dfx generate. */
#include "generate_settings.h"

#include "cmd.h"

#include <limits.h>
#include <string.h>

const struct generate_settings generate_defaults = { .guidance = -1,
                                                     .strength = -1,
                                                     .image_guidance = -1,
                                                     .class_label = -1,
                                                     .noise_level = -1,
                                                     .padding_mask_crop = -1 };

#define AT(field) offsetof(struct generate_settings, field)
const struct option generate_options[] = {
    { "model", OPTION_STRING, AT(model), "MODEL",
      "a Diffusers folder, a file that holds a model\n"
      "(.dduf, .safetensors, .ckpt), or ORG/NAME in the\n"
      "Hugging Face cache (DFX_MODEL, else the model that\n"
      "ships with dfx)",
      0, 0 },
    { "prompt", OPTION_STRING, AT(prompt), "P", "the prompt, instead of PROMPT", 0, 0 },
    { "negative-prompt", OPTION_STRING, AT(negative_prompt), "N", "what the picture should not be",
      0, 0 },
    { "steps", OPTION_INT, AT(steps), "N", "inference steps (the model's, else 50)", 1, STEPS_MAX },
    { "guidance", OPTION_FLOAT, AT(guidance), "G",
      "guidance scale; acts above 1 (the model's, else 7.5;\nSDXL 5)", 0, 1000 },
    { "seed", OPTION_UINT64, AT(seed), "S", "of the noise, as in torch (random)", 0, 0 },
    { "width", OPTION_INT, AT(width), "W",
      "pixels, a multiple of the VAE's factor, 8 in Stable\nDiffusion (the model's)", 1, SIDE_MAX },
    { "height", OPTION_INT, AT(height), "H", "likewise", 1, SIDE_MAX },
    { "scheduler", OPTION_STRING, AT(scheduler), "NAME[,key=value...]",
      "euler, ddim, dpmpp_2m, a class name of diffusers ...,\nwith changed keys of its config "
      "(the model's)",
      0, 0 },
    { "batch", OPTION_INT, AT(batch), "N",
      "pictures in one run; O.png becomes O-1.png, O-2.png ...", 1, BATCH_MAX },
    { "init-image", OPTION_STRING, AT(init_image), "F.png",
      "image to image: the picture to start from", 0, 0 },
    { "strength", OPTION_DOUBLE, AT(strength), "X",
      "how much of it is painted anew, 0 to 1 (0.8, with a\nmask 1; SDXL 0.3, with a mask 0.9999)",
      0, 1 },
    { "mask", OPTION_STRING, AT(mask), "F.png", "inpainting: what is white in it is painted anew",
      0, 0 },
    { "padding-mask-crop", OPTION_INT, AT(padding_mask_crop), "N",
      "inpainting: paint only the part around what is white,\nN pixels wider, and lay it into the "
      "picture",
      0, SIDE_MAX },
    { "image-guidance", OPTION_FLOAT, AT(image_guidance), "G",
      "InstructPix2Pix: how much of the picture stays; both\nguidances act if it is 1 or more "
      "(1.5)",
      0, 1000 },
    { "depth", OPTION_STRING, AT(depth), "F",
      "depth to image: the picture's depth, near is light; a\nPNG, or \"depth\" [H,W] f32 in "
      "F.safetensors (the model's\nestimate)",
      0, 0 },
    { "noise-level", OPTION_INT, AT(noise_level), "N",
      "the x4 upscaler: noise on the picture, which lets it\nchange more (20)", 0, 1000 },
    { "class-label", OPTION_INT, AT(class_label), "N",
      "models trained with classes: which to draw, from 0 on\n(by the seed)", 0, INT_MAX },
    { "guidance-rescale", OPTION_FLOAT, AT(guidance_rescale), "X",
      "0 to 1, against overexposure by large guidance (0)", 0, 1 },
    { "clip-skip", OPTION_INT, AT(clip_skip), "N",
      "last layers of the text encoder to leave out (0)", 0, 64 },
    { "long-prompts", OPTION_FLAG, AT(long_prompts), NULL,
      "prompts of any length, with weights: \"a (red:1.3) [apple]\"", 0, 0 },
    { "max-embeddings-multiples", OPTION_INT, AT(max_multiples), "N",
      "of long prompts, times 75 tokens (3; SDXL: any)", 1, 1024 },
    { "no-boseos-middle", OPTION_FLAG, AT(no_boseos_middle), NULL,
      "of long prompts, no BOS and EOS between their parts", 0, 0 },
    { "prompt-2", OPTION_STRING, AT(prompt_2), "P", "of SDXL's second text encoder (the prompt)", 0,
      0 },
    { "negative-prompt-2", OPTION_STRING, AT(negative_prompt_2), "N", "likewise", 0, 0 },
    { "original-size", OPTION_PAIR, AT(original_size), "WxH",
      "what SDXL is told the picture's size was (its own)", 1, SIDE_MAX },
    { "crop", OPTION_PAIR, AT(crop), "X,Y", "and how much of it was cut off, left and top (0,0)",
      -SIDE_MAX, SIDE_MAX },
    { "target-size", OPTION_PAIR, AT(target_size), "WxH", "and how large the rest was (its own)", 1,
      SIDE_MAX },
    { "negative-original-size", OPTION_PAIR, AT(negative_original_size), "WxH",
      "the same three for what the picture should not be", 1, SIDE_MAX },
    { "negative-crop", OPTION_PAIR, AT(negative_crop), "X,Y", "likewise", -SIDE_MAX, SIDE_MAX },
    { "negative-target-size", OPTION_PAIR, AT(negative_target_size), "WxH", "likewise", 1,
      SIDE_MAX },
    { "refiner", OPTION_STRING, AT(refiner), "MODEL",
      "a refiner of SDXL, which takes over from --model at\n--denoising-end (0.8)", 0, 0 },
    { "aesthetic-score", OPTION_FLOAT, AT(aesthetic_score), "X",
      "what a refiner is told the picture is worth (6)", 0.001, 100 },
    { "negative-aesthetic-score", OPTION_FLOAT, AT(negative_aesthetic_score), "X",
      "and what it should not be worth (2.5)", 0.001, 100 },
    { "denoising-end", OPTION_DOUBLE, AT(denoising_end), "X",
      "stop after this part of the denoising, 0 to 1", 0, 1 },
    { "denoising-start", OPTION_DOUBLE, AT(denoising_start), "X",
      "go on from there with --init-latents or --init-image", 0, 1 },
    { "init-latents", OPTION_STRING, AT(init_latents), "F.safetensors",
      "\"latents\" [B,C,H,W] f32 instead of --init-image", 0, 0 },
    { "save-latents", OPTION_STRING, AT(save_latents), "F.safetensors",
      "write the last latents; without --output no picture", 0, 0 },
    { "latents", OPTION_STRING, AT(latents), "F.safetensors",
      "the noise to start from: \"latents\" [B,C,H,W] f32", 0, 0 },
    { "trace", OPTION_STRING, AT(trace), "F.safetensors",
      "write latents.0000 ... after each step,\nprompt_embeds and image", 0, 0 },
    { "preview", OPTION_STRING, AT(preview), "F.png",
      "show the run: replaced by its picture after each step", 0, 0 },
    { "preview-every", OPTION_INT, AT(preview_every), "N", "only after every Nth one and the last",
      1, STEPS_MAX },
    { "preview-model", OPTION_STRING, AT(preview_model), "MODEL",
      "what decodes previews, best an AutoencoderTiny such as\n"
      "madebyollin/taesd: a folder, or ORG/NAME (the model's\nown VAE, which takes long)",
      0, 0 },
    { "device", OPTION_STRING, AT(device), "D", "cpu, opencl, opencl:N or auto (DFX_DEVICE)", 0,
      0 },
    { "dtype", OPTION_STRING, AT(dtype), "T", "f32, f16, bf16 or auto (DFX_DTYPE)", 0, 0 },
    { "tile", OPTION_STRING, AT(tile), "auto|on|off",
      "tiles of large pictures for the VAE: where memory asks\n"
      "for them, with the same result; as diffusers; or never\n(auto)",
      0, 0 },
    { "variant", OPTION_STRING, AT(variant), "NAME",
      "weight files *.NAME.safetensors or *.NAME.bin, of\n"
      "fp16 or ema; plain ones for components without",
      0, 0 },
    { "output", OPTION_STRING, AT(output), "O.png",
      "- is standard output (the prompt's words and the\nseed: red-apple-42.png)", 0, 0 },
    { "quiet", OPTION_FLAG, AT(quiet), NULL, "no progress and no messages but errors", 0, 0 },
    { "json", OPTION_FLAG, AT(json), NULL, "print the files and settings as JSON", 0, 0 },
    { "memory-limit", OPTION_SIZE, AT(memory_limit), "SIZE",
      "take no more of the device's memory: 3.5G (all of it, or\nDFX_MEMORY_LIMIT)", 0, 0 },
    { .name = NULL },
};

const struct positional generate_positionals[] = {
    { "PROMPT", AT(positional_prompt), 0,
      "what to draw, in quotes; unconditional models take none" },
    { .name = NULL },
};
#undef AT

static int check_dtype(const char *name)
{
    dfx_dtype dtype;
    if (!name || strcmp(name, "auto") == 0 ||
        (dfx_dtype_parse(&dtype, name) == DFX_OK && dtype <= DFX_BF16))
        return EXIT_DONE;
    return cmd_fail_with(EXIT_USAGE, "--dtype: \"%s\" must be f32, f16, bf16 or auto", name);
}

static const char *const tile_names[] = { "auto", "on", "off" }; /* in dfx_tile's order */

static int check_tile(const char *name)
{
    int known = !name;
    for (int i = 0; name && i < 3; i++)
        known |= strcmp(name, tile_names[i]) == 0;
    return known ? EXIT_DONE
                 : cmd_fail_with(EXIT_USAGE, "--tile: \"%s\" must be auto, on or off", name);
}

dfx_tile generate_tile(const struct generate_settings *s)
{
    int i = 0;
    while (s->tile && strcmp(s->tile, tile_names[i]) != 0)
        i++;
    return (dfx_tile)i;
}

/* A mistyped scheduler is found before a large model is loaded. */
static int check_scheduler(const char *choice)
{
    dfx_scheduler *scheduler;
    dfx_status status = choice ? dfx_scheduler_open(&scheduler, NULL, choice) : DFX_ERROR_FILE;
    if (status == DFX_OK)
        dfx_scheduler_free(scheduler);
    if (status == DFX_ERROR_UNSUPPORTED)
        return cmd_fail_with(EXIT_USAGE, "--scheduler: %s", dfx_error());
    return EXIT_DONE;
}

int generate_check(const struct generate_settings *s)
{
    if (s->prompt && s->positional_prompt)
        return cmd_fail_with(EXIT_USAGE, "--prompt: the prompt is already given as \"%s\"",
                             s->positional_prompt);
    const char *start = s->init_image ? s->init_image : s->init_latents;
    if (s->mask && !start)
        return cmd_fail_with(EXIT_USAGE, "--mask: needs --init-image, the picture it selects from");
    if (s->padding_mask_crop >= 0 && !s->mask)
        return cmd_fail_with(EXIT_USAGE, "--padding-mask-crop: needs --mask");
    if (s->strength >= 0 && !start)
        return cmd_fail_with(EXIT_USAGE, "--strength: needs --init-image");
    if (s->denoising_start > 0 && !start)
        return cmd_fail_with(EXIT_USAGE, "--denoising-start: needs --init-latents");
    if (s->init_image && s->init_latents)
        return cmd_fail_with(EXIT_USAGE, "--init-latents: there is --init-image too");
    if (s->refiner && s->mask)
        return cmd_fail_with(EXIT_USAGE, "--refiner: it refines whole pictures, without --mask");
    if ((s->max_multiples || s->no_boseos_middle) && !s->long_prompts)
        return cmd_fail_with(EXIT_USAGE, "%s: needs --long-prompts",
                             s->max_multiples ? "--max-embeddings-multiples"
                                              : "--no-boseos-middle");
    if (s->output && strcmp(s->output, "-") == 0 && s->json)
        return cmd_fail_with(EXIT_USAGE, "--json: standard output is taken by --output -");
    if (s->trace && strcmp(s->trace, "-") == 0)
        return cmd_fail_with(EXIT_USAGE, "--trace: needs a file's name");
    if (s->preview && strcmp(s->preview, "-") == 0)
        return cmd_fail_with(EXIT_USAGE, "--preview: needs a file's name");
    if (!s->preview && (s->preview_every || s->preview_model))
        return cmd_fail_with(EXIT_USAGE, "%s: needs --preview",
                             s->preview_every ? "--preview-every" : "--preview-model");
    int code = check_dtype(s->dtype);
    if (code == EXIT_DONE)
        code = check_tile(s->tile);
    return code == EXIT_DONE ? check_scheduler(s->scheduler) : code;
}
