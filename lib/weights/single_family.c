/* single_family.c - recognises single-file checkpoints, and refuses by name what is not read. */
#include "weights/single_family.h"

#include "core/status.h"

#include <inttypes.h>
#include <string.h>

const dfx__single_part dfx__single_unet = { "unet", "model.diffusion_model.", DFX__LAYOUT_UNET };
const dfx__single_part dfx__single_vae = { "vae", "first_stage_model.", DFX__LAYOUT_VAE };

const dfx__single_family dfx__single_families[] = {
    { "Stable Diffusion XL",
      { { "text_encoder", "conditioner.embedders.0.transformer.", DFX__LAYOUT_CLIP },
        { "text_encoder_2", "conditioner.embedders.1.model.", DFX__LAYOUT_OPEN_CLIP } },
      2048,
      6,
      { { 4, "sdxl", 64 }, { 9, "sdxl-inpainting", 64 }, { 8, "sdxl-pix2pix", 64 } } },
    { "Stable Diffusion XL refiner",
      { { "text_encoder_2", "conditioner.embedders.0.model.", DFX__LAYOUT_OPEN_CLIP } },
      1280,
      5,
      { { 4, "sdxl-refiner", 64 } } },
    { "Stable Diffusion 2",
      { { "text_encoder", "cond_stage_model.model.", DFX__LAYOUT_OPEN_CLIP } },
      1024,
      0,
      { { 4, "sd2", 64 },
        { 9, "sd2-inpainting", 64 },
        { 5, "sd2-depth", 64 },
        { 7, "x4-upscaler", 0 } } },
    { "Stable Diffusion 1",
      { { "text_encoder", "cond_stage_model.transformer.", DFX__LAYOUT_CLIP } },
      768,
      0,
      { { 4, "sd1", 0 }, { 9, "sd1-inpainting", 0 }, { 8, "sd1-pix2pix", 0 } } },
    { .name = NULL },
};

/* A tensor that only such files have; most files may have "model.diffusion_model." before it. A
 * name that ends with a dot stands for all that begin so. */
static const struct {
    const char *tensor, *family;
} refused[] = {
    { "control_model.time_embed.0.weight", "ControlNet" },
    { "controlnet_cond_embedding.conv_in.weight", "ControlNet" },
    { "input_hint_block.0.weight", "ControlNet" },
    { "edm_mean", "Playground 2.5" },
    { "clip_txt_mapper.weight", "Stable Cascade (stage C)" },
    { "down_blocks.1.0.channelwise.0.weight", "Stable Cascade (stage B)" },
    { "joint_blocks.0.context_block.adaLN_modulation.1.bias", "Stable Diffusion 3" },
    { "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", "AnimateDiff" },
    { "single_stream_modulation.lin.weight", "Flux 2" },
    { "early_stream_modulations.image.lin.weight", "Flux 3" },
    { "distilled_guidance_layer.in_proj.bias", "Chroma" },
    { "double_blocks.0.img_attn.norm.key_norm.scale", "Flux" },
    { "patchify_proj.weight", "LTX-Video" },
    { "vae.per_channel_statistics.mean-of-means", "LTX-Video" },
    { "decoder.stages.1.op_list.0.main.conv.conv.bias", "AutoencoderDC" },
    { "blocks.0.attn.qkv_x.weight", "Mochi" },
    { "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias", "HunyuanVideo" },
    { "double_layers.0.attn.w2q.weight", "AuraFlow" },
    { "cap_embedder.0.weight", "Lumina 2" },
    { "layers.0.adaLN_modulation.0.weight", "Z-Image" },
    { "blocks.0.cross_attn.q_linear.weight", "Sana" },
    { "head.modulation", "Wan" },
    { "decoder.middle.0.residual.0.gamma", "Wan's autoencoder" },
    { "double_stream_blocks.0.block.adaLN_modulation.1.bias", "HiDream" },
    { "net.x_embedder.proj.1.weight", "Cosmos" },
    { "txt_in.text_norm.weight", "Qwen-Image" },
    { "txtfusion.projector.weight", "Krea 2" },
    { "token_refiner.blocks.0.attn.qkv_proj.weight", "MiniMax H3" },
    { "input_blocks.1.0.time_stack.", "Stable Video Diffusion" },
    { "cc_projection.weight", "Zero123" },
    { "noise_augmentor.", "Stable unCLIP" },
    { "embedder.model.visual.", "Stable unCLIP" },
    { "position_net.", "GLIGEN" },
    { "first_stage_model.quantize.embedding.weight", "latent diffusion with a VQ autoencoder" },
    { "quantize.embedding.weight", "a VQ autoencoder" },
    { "cond_stage_model.transformer.token_emb.weight", "latent diffusion with a BERT encoder" },
    { "lora_unet_", "LoRA (weights to add to a model)" },
    { "lora_te", "LoRA (weights to add to a model)" },
    { "emb_params", "a textual inversion" },
    { "clip_l", "a textual inversion" },
};

/* Whether a tensor has a name, or begins with one that ends with a dot or an underscore. */
static int begins(const dfx_tensors *file, const char *name)
{
    size_t n = strlen(name);
    if (name[n - 1] != '.' && name[n - 1] != '_')
        return dfx_tensors_find(file, name) != NULL;
    for (int i = 0; i < file->count; i++)
        if (strncmp(file->tensor[i]->name, name, n) == 0)
            return 1;
    return 0;
}

static dfx_status refuse(const dfx_tensors *file)
{
    char with[256];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(with, sizeof with, "%s%s", dfx__single_unet.prefix, refused[i].tensor);
        if (begins(file, refused[i].tensor) || begins(file, with))
            return dfx__fail(DFX_ERROR_UNSUPPORTED, "is a checkpoint of %s, which is not supported",
                             refused[i].family);
    }
    return DFX_OK;
}

/* Whether a component is there: its first weight. */
static const dfx_tensor *find_part(const dfx_tensors *file, const char *prefix, dfx__layout layout)
{
    static const char *const first[] = {
        [DFX__LAYOUT_UNET] = "input_blocks.0.0.weight",
        [DFX__LAYOUT_VAE] = "decoder.conv_in.weight",
        [DFX__LAYOUT_CLIP] = "text_model.embeddings.token_embedding.weight",
        [DFX__LAYOUT_OPEN_CLIP] = "token_embedding.weight",
    };
    char name[128];
    snprintf(name, sizeof name, "%s%s", prefix, first[layout]);
    return dfx_tensors_find(file, name);
}

/* Takes a component in if it is there, under the first of the prefixes that has it. */
static void take(dfx__single_file *s, const dfx_tensors *file, const dfx__single_part *part,
                 const char *other, const char *bare)
{
    const char *prefix[] = { part->prefix, other, bare };
    for (int i = 0; i < 3; i++)
        if (prefix[i] && find_part(file, prefix[i], part->layout)) {
            s->part[s->parts] = *part;
            s->part[s->parts++].prefix = prefix[i];
            return;
        }
}

/* Dimension 1 of a tensor under a prefix; 0 when there is none. */
static int width_of(const dfx_tensors *file, const char *prefix, const char *name)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const dfx_tensor *t = dfx_tensors_find(file, full);
    return t && t->spec.rank >= 2 && t->spec.dim[1] <= INT32_MAX ? (int)t->spec.dim[1] : 0;
}

/* The family whose text encoders are there, else the one of the UNet's width. */
static const dfx__single_family *find_family(const dfx_tensors *file, int context)
{
    const dfx__single_family *f;
    for (f = dfx__single_families; f->name; f++)
        for (int i = 0; i < 2 && f->text[i].name; i++)
            if (find_part(file, f->text[i].prefix, f->text[i].layout))
                return f;
    for (f = dfx__single_families; f->name; f++)
        if (f->context == context)
            return f;
    return NULL;
}

/* The text encoders' widths add up to what the UNet takes. */
static dfx_status check_widths(const dfx__single_file *s, const dfx_tensors *file, int context)
{
    static const char *const token[] = {
        [DFX__LAYOUT_CLIP] = "text_model.embeddings.token_embedding.weight",
        [DFX__LAYOUT_OPEN_CLIP] = "token_embedding.weight",
    };
    int texts = 0, width = 0;
    for (int i = 0; i < s->parts; i++)
        if (strncmp(s->part[i].name, "text", 4) == 0) {
            width += width_of(file, s->part[i].prefix, token[s->part[i].layout]);
            texts++;
        }
    if (!context || !texts || texts != 1 + (s->family->text[1].name != NULL) || width == context)
        return DFX_OK;
    return dfx__fail(DFX_ERROR_FORMAT,
                     "the UNet takes texts of width %d and the text encoders give %d: these are "
                     "parts of different models",
                     context, width);
}

/* Diffusers takes Stable Diffusion 2 for its 768-v form unless the steps of its training say
 * otherwise. */
static int is_epsilon(const dfx_tensors *file)
{
    const dfx_tensor *t = dfx_tensors_find(file, "global_step");
    int64_t steps = 0;
    if (t && t->spec.dtype == DFX_I64 && t->bytes == sizeof steps)
        memcpy(&steps, t->data, sizeof steps);
    return steps == 875000;
}

/* CosXL says so by its range of sigmas; its other tensors are SDXL's. */
static dfx_status choose_cosxl(dfx__single_file *s, const dfx_tensors *file)
{
    static const struct {
        const char *sdxl, *cosxl;
    } configs[] = { { "sdxl", "cosxl" }, { "sdxl-pix2pix", "cosxl-edit" } };
    if (!dfx_tensors_find(file, "edm_vpred.sigma_max"))
        return DFX_OK;
    for (int i = 0; i < 2; i++)
        if (strcmp(s->configs, configs[i].sdxl) == 0) {
            s->configs = configs[i].cosxl;
            return DFX_OK;
        }
    return dfx__fail(DFX_ERROR_UNSUPPORTED,
                     "is a checkpoint of %s with CosXL's noise (edm_vpred.sigma_max), which is not "
                     "supported",
                     s->family->name);
}

static dfx_status choose_variant(dfx__single_file *s, const dfx_tensors *file, int channels)
{
    const dfx__single_family *f = s->family;
    int i = 0;
    while (channels && i < 5 && f->variant[i].configs && f->variant[i].in_channels != channels)
        i++;
    if (i == 5 || !f->variant[i].configs)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "a UNet of %s with %d input channels is not supported", f->name, channels);
    s->configs = f->variant[i].configs;
    s->rules.head_width = f->variant[i].head_width;
    s->rules.added_sizes = f->added_sizes;
    if (f->text[1].name || f->added_sizes)
        s->rules.pooled =
            width_of(file, f->text[f->text[1].name ? 1 : 0].prefix, "text_projection");
    if (strcmp(s->configs, "sd2") == 0 && is_epsilon(file))
        s->configs = "sd2-base";
    return choose_cosxl(s, file);
}

static int has_configs(const dfx_tensors *file)
{
    if (!file->metadata)
        return 0;
    json_object_object_foreach (file->metadata, key, value)
        if (value && strncmp(key, DFX__SINGLE_METADATA, strlen(DFX__SINGLE_METADATA)) == 0)
            return 1;
    return 0;
}

static dfx_status fail_unknown(const dfx_tensors *file)
{
    static const char *const diffusers[] = { "down_blocks.", "decoder.up_blocks.", "text_model.",
                                             "encoder.down_blocks.", "decoder.layers." };
    for (size_t i = 0; i < sizeof diffusers / sizeof *diffusers; i++)
        if (begins(file, diffusers[i]))
            return dfx__fail(DFX_ERROR_UNSUPPORTED,
                             "has a component's tensors under Diffusers' names, and their config "
                             "is in its folder: give that folder");
    return dfx__fail(DFX_ERROR_UNSUPPORTED, "is no checkpoint of a known family");
}

dfx_status dfx__single_recognise(dfx__single_file *out, const dfx_tensors *file)
{
    *out = (dfx__single_file){ .parts = 0 };
    DFX__TRY(refuse(file));
    take(out, file, &dfx__single_unet, NULL, "");
    const char *unet = out->parts ? out->part[0].prefix : dfx__single_unet.prefix;
    int channels = width_of(file, unet, "input_blocks.0.0.weight");
    int context = width_of(file, unet, "middle_block.1.transformer_blocks.0.attn2.to_k.weight");
    take(out, file, &dfx__single_vae, "vae.", "");
    out->family = find_family(file, context);
    int stored = has_configs(file);
    if (!out->family && out->parts && context && !stored)
        return dfx__fail(DFX_ERROR_UNSUPPORTED,
                         "is a UNet that takes texts of width %d, which no known family has",
                         context);
    for (int i = 0; out->family && i < 2 && out->family->text[i].name; i++)
        take(out, file, &out->family->text[i], NULL, NULL);
    if (!out->parts)
        return fail_unknown(file);
    if (!out->family) /* an autoencoder alone, which Diffusers takes for the first one's */
        for (out->family = dfx__single_families; out->family[1].name;)
            out->family++;
    DFX__TRY(check_widths(out, file, context));
    if (stored)
        return DFX_OK;
    return choose_variant(out, file, channels);
}
