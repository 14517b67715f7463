/* test_model.c - components against diffusers and transformers, and what they refuse. */
#include "log_test.h"
#include "model_test.h"

#include <math.h>

/* What tests/gen/models has run: FOLDER[.RUN], whose tensors are in tests/data/forward. */
static const char *const runs[] = {
    "tiny/text_encoder",
    "tiny/unet",
    "tiny/vae.encode",
    "tiny/vae.decode",
    /* text.py */
    "models/text_gelu",
    "models/text_old_eos",
    "models/text_projection",
    /* unets.py */
    "models/unet_added",
    "models/unet_cross",
    "models/unet_depths",
    "models/unet_k",
    "models/unet_levels",
    "models/unet_linear",
    "models/unet_mish",
    "models/unet_refiner",
    "models/unet_scales",
    "models/unet_sdxl",
    "models/unet_self",
    "models/unet_three",
    /* unets2d.py */
    "models/unet2d_adm",
    "models/unet2d_attn_skip",
    "models/unet2d_ddpm",
    "models/unet2d_learned",
    "models/unet2d_ncsnpp",
    "models/unet2d_plain",
    "models/unet2d_resnets",
    /* autoencoders.py */
    "models/vae_asym.encode",
    "models/vae_asym.decode",
    "models/vae_asym.masked",
    "models/vae_asym_even.encode",
    "models/vae_asym_even.decode",
    "models/vae_asym_even.masked",
    "models/vae_attending.encode",
    "models/vae_attending.decode",
    "models/vae_old.encode",
    "models/vae_old.decode",
    "models/vae_one.encode",
    "models/vae_one.decode",
    "models/vae_sharded.encode",
    "models/vae_sharded.decode",
    "models/vae_tiny.encode",
    "models/vae_tiny.decode",
    "models/vae_tiny_mish.encode",
    "models/vae_tiny_mish.decode",
    "models/vq_embed.encode",
    "models/vq_embed.decode",
    "models/vq_plain.encode",
    "models/vq_plain.decode",
    /* embedders.py */
    "models/redux",
    /* depth.py */
    "models/dpt_hybrid",
    "models/dpt_plain",
};

/* Allowed error by dtype, as a part of the result's norm. In f16 it comes of storing what lies
 * between layers: torch's own f16 differs as much from its f32. */
static const double tolerance[] = { [DFX_F32] = 2e-5, [DFX_F16] = 2e-3, [DFX_BF16] = 3e-2 };

/* ---- against the references ---- */

static int same_spec(const dfx_spec *a, const dfx_spec *b)
{
    int same = a->rank == b->rank && a->dtype == b->dtype;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dim[i] == b->dim[i];
    return same;
}

/* ||got - wanted|| / ||wanted||; infinite when there is no such tensor of that shape. */
static double error_of(const dfx_tensors *got, const dfx_tensor *wanted)
{
    const dfx_tensor *x = dfx_tensors_find(got, wanted->name);
    double difference = 0, norm = 0;
    if (!x || !same_spec(&x->spec, &wanted->spec))
        return INFINITY;
    for (size_t i = 0; i < x->bytes / sizeof(float); i++) {
        double w = ((const float *)wanted->data)[i], d = ((const float *)x->data)[i] - w;
        difference += d * d;
        norm += w * w;
    }
    return sqrt(difference / norm);
}

static void test_run(dfx_device *device, dfx_dtype dtype, const char *run)
{
    dfx_tensors *in = read_side(run, "in"), *wanted = read_side(run, "out");
    dfx_tensors *out;
    dfx_model *m = open_model(run);
    double worst = 0;
    dfx_tensors_new(&out);
    int done = m && dfx_model_forward(m, device, dtype, in, out) == DFX_OK;
    for (int i = 0; done && i < dfx_tensors_count(wanted); i++)
        worst = fmax(worst, error_of(out, dfx_tensors_at(wanted, i)));
    ok(done && dfx_tensors_count(wanted) > 0 && worst <= tolerance[dtype], "%s %s %s: %s %.1e",
       dfx_device_get_info(device)->id, dfx_dtype_name(dtype), run, done ? "" : dfx_error(), worst);
    dfx_model_free(m);
    dfx_tensors_free(in);
    dfx_tensors_free(wanted);
    dfx_tensors_free(out);
}

static void test_device(const char *name)
{
    const char *only = getenv("DFX_DEVICE");
    dfx_device *device;
    if (only && *only && strncmp(only, name, strlen(name)) != 0)
        return;
    if (dfx_device_open(&device, only && *only ? only : name) != DFX_OK) {
        skip(dfx_error(), "%s", name);
        return;
    }
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        for (dfx_dtype dtype = DFX_F32; dtype <= DFX_BF16; dtype++)
            test_run(device, dtype, runs[i]);
    dfx_device_free(device);
}

#define UNET "models/unet_cross"
#define VAE "models/vae_one"
#define TINY "models/vae_tiny"
#define ASYM "models/vae_asym"
#define VQ "models/vq_embed"
#define TEXT "models/text_gelu"
#define PROJECTION "models/text_projection"

static const struct wrong_config wrong[] = {
    { VAE, "\"AutoencoderKL\"", "\"ConsistencyDecoderVAE\"", DFX_ERROR_UNSUPPORTED,
      "ConsistencyDecoderVAE" },
    { VAE, "\"DownEncoderBlock2D\"", "\"KDownBlock2D\"", DFX_ERROR_UNSUPPORTED,
      "down_block_types" },
    { VAE, "\"DownEncoderBlock2D\"", "\"AttnDownEncoderBlock2D\"", DFX_ERROR_FORMAT,
      "encoder.down_blocks.0.attentions.0.group_norm.weight" },
    { VAE, "\"latents_mean\": null", "\"latents_mean\": [0.5]", DFX_ERROR_FORMAT, "latents_mean" },
    { VAE, "\"latents_std\": null", "\"latents_std\": [1, 2, 3, \"4\"]", DFX_ERROR_FORMAT,
      "latents_std" },
    { VAE, "\"scaling_factor\": 0.18215", "\"scaling_factor\": 0", DFX_ERROR_UNSUPPORTED,
      "scaling_factor" },
    { TINY, "\"encoder_block_out_channels\": [\n    8,", "\"encoder_block_out_channels\": [9,",
      DFX_ERROR_UNSUPPORTED, "encoder_block_out_channels" },
    { TINY, "\"num_decoder_blocks\": [", "\"num_decoder_blocks\": [1,", DFX_ERROR_UNSUPPORTED,
      "num_decoder_blocks" },
    { TINY, "\"num_encoder_blocks\": [\n    1,", "\"num_encoder_blocks\": [2147483647,",
      DFX_ERROR_FORMAT, "num_encoder_blocks" },
    { TINY, "\"num_encoder_blocks\": [\n    1,", "\"num_encoder_blocks\": [2,", DFX_ERROR_FORMAT,
      "encoder.layers.2.conv.0.weight" },
    { TINY, "\"act_fn\": \"relu\"", "\"act_fn\": \"elu\"", DFX_ERROR_UNSUPPORTED, "act_fn" },
    { TINY, "\"upsampling_scaling_factor\": 2", "\"upsampling_scaling_factor\": 3",
      DFX_ERROR_UNSUPPORTED, "upsampling_scaling_factor" },
    { TINY, "{", "{ \"upsample_fn\": \"bilinear\",", DFX_ERROR_UNSUPPORTED, "upsample_fn" },
    { TINY, "{", "{ \"block_out_channels\": [8, 8],", DFX_ERROR_UNSUPPORTED, "block_out_channels" },
    { TINY, "\"scaling_factor\": 1.0", "\"scaling_factor\": -1", DFX_ERROR_UNSUPPORTED,
      "scaling_factor" },
    { TINY, "{", "{ \"latents_mean\": [0, 0, 0, 0],", DFX_ERROR_UNSUPPORTED, "latents_mean" },
    { ASYM, "\"layers_per_up_block\": 1", "\"layers_per_up_block\": 2", DFX_ERROR_FORMAT,
      "decoder.up_blocks.0.resnets.2.norm1.weight" },
    { ASYM, "\"layers_per_down_block\": 2", "\"layers_per_down_block\": 65", DFX_ERROR_FORMAT,
      "layers_per_down_block" },
    { ASYM, "\"down_block_out_channels\": [", "\"down_block_out_channels\": [4,",
      DFX_ERROR_UNSUPPORTED, "down_block_types" },
    { ASYM, "\"up_block_out_channels\": [", "\"up_block_out_channels\": [4,", DFX_ERROR_UNSUPPORTED,
      "up_block_types" },
    { ASYM, "\"norm_num_groups\": 2", "\"norm_num_groups\": 4", DFX_ERROR_UNSUPPORTED,
      "norm_num_groups" },
    { ASYM, "\"out_channels\": 3", "\"out_channels\": 2", DFX_ERROR_FORMAT,
      "decoder.conv_out.weight" },
    { VQ, "\"norm_type\": \"group\"", "\"norm_type\": \"spatial\"", DFX_ERROR_UNSUPPORTED,
      "norm_type" },
    { VQ, "\"act_fn\": \"silu\"", "\"act_fn\": \"mish\"", DFX_ERROR_UNSUPPORTED, "act_fn" },
    { VQ, "\"vq_embed_dim\": 4", "\"vq_embed_dim\": 257", DFX_ERROR_UNSUPPORTED, "vq_embed_dim" },
    { VQ, "\"vq_embed_dim\": 4", "\"vq_embed_dim\": 0", DFX_ERROR_FORMAT, "vq_embed_dim" },
    { VQ, "\"vq_embed_dim\": 4", "\"vq_embed_dim\": null", DFX_ERROR_FORMAT, "quant_conv.weight" },
    { VQ, "\"num_vq_embeddings\": 61", "\"num_vq_embeddings\": 62", DFX_ERROR_FORMAT,
      "quantize.embedding.weight" },
    { VQ, "\"num_vq_embeddings\": 61", "\"num_vq_embeddings\": 2000000000", DFX_ERROR_FORMAT,
      "num_vq_embeddings" },
    { VQ, "\"scaling_factor\": 0.18215", "\"scaling_factor\": NaN", DFX_ERROR_UNSUPPORTED,
      "scaling_factor" },
    { TEXT, "\"CLIPTextModel\"", "\"CLIPVisionModel\"", DFX_ERROR_UNSUPPORTED, "CLIPVisionModel" },
    { TEXT, "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"", DFX_ERROR_UNSUPPORTED,
      "hidden_act" },
    { TEXT, "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", DFX_ERROR_UNSUPPORTED,
      "num_attention_heads" },
    { TEXT, "\"eos_token_id\": 39", "\"eos_token_id\": [39, 38]", DFX_ERROR_FORMAT,
      "eos_token_id" },
    { PROJECTION, "\"projection_dim\": 24", "\"projection_dim\": 25", DFX_ERROR_FORMAT,
      "text_projection.weight" },
    { PROJECTION, "\"projection_dim\": 24", "\"projection_dim\": 1000000000", DFX_ERROR_FORMAT,
      "projection_dim" },
};

static void test_unknown_key(void)
{
    dfx_model *m;
    put_config(VAE, "{", "{ \"shoe_size\": 42,");
    link_weights(VAE);
    logged[0] = '\0';
    ok(dfx_model_open(&m, folder) == DFX_OK, "an unknown key is no error");
    ok(strstr(logged, "shoe_size") && strstr(logged, folder), "but it is named: %.*s",
       (int)strcspn(logged, "\n"), logged);
    dfx_model_free(m);
    empty_folder();
}

/* The VAE with its weights, without the tensor `left_out`, with the shape of `turned` reversed,
 * with one more called `added`; each may be NULL. */
static void put_weights(const char *left_out, const char *turned, const char *added)
{
    dfx_tensors *from, *to;
    if (dfx_tensors_open(&from, data(VAE "/diffusion_pytorch_model.safetensors")) ||
        dfx_tensors_new(&to))
        exit(99);
    for (int i = 0; i < dfx_tensors_count(from); i++) {
        const dfx_tensor *t = dfx_tensors_at(from, i);
        dfx_spec spec = t->spec;
        if (left_out && strcmp(t->name, left_out) == 0)
            continue;
        for (int k = 0; turned && strcmp(t->name, turned) == 0 && k < spec.rank; k++)
            spec.dim[k] = t->spec.dim[spec.rank - 1 - k];
        dfx_tensors_add(to, t->name, &spec, t->data);
    }
    if (added)
        dfx_tensors_add(to, added, &(dfx_spec){ DFX_F32, 1, { 1 } }, &(float){ 0 });
    put_config(VAE, "{", "{");
    if (dfx_tensors_save(to, in_folder("diffusion_pytorch_model.safetensors")))
        exit(99);
    dfx_tensors_free(from);
    dfx_tensors_free(to);
}

static void test_weights(void)
{
    dfx_model *m;
    put_weights("decoder.mid_block.attentions.0.to_k.weight", NULL, NULL);
    ok(refused(DFX_ERROR_FORMAT, "decoder.mid_block.attentions.0.to_k.weight is missing", folder),
       "a missing tensor: %s", dfx_error());
    empty_folder();
    put_weights(NULL, "decoder.conv_in.weight", NULL);
    ok(refused(DFX_ERROR_FORMAT, "[3, 3, 4, 32]", "[32, 4, 3, 3]"), "a wrong shape: %s",
       dfx_error());
    empty_folder();
    put_weights(NULL, NULL, "decoder.conv_in.weigth");
    logged[0] = '\0';
    ok(dfx_model_open(&m, folder) == DFX_OK, "an unused tensor is no error");
    ok(strstr(logged, "decoder.conv_in.weigth") && strstr(logged, folder), "but it is named: %.*s",
       (int)strcspn(logged, "\n"), logged);
    dfx_model_free(m);
    empty_folder();
}

static void test_files(void)
{
    size_t bytes;
    char *text = read_text(VAE, "diffusion_pytorch_model.safetensors", &bytes);
    for (size_t part = 0; part < 3; part++) {
        put_config(VAE, "{", "{");
        write_text("diffusion_pytorch_model.safetensors", text, bytes * part / 3);
        ok(refused(DFX_ERROR_FORMAT, "diffusion_pytorch_model.safetensors", folder),
           "weights cut to %zu thirds: %s", part, dfx_error());
        empty_folder();
    }
    free(text);
    ok(refused(DFX_ERROR_FILE, "config.json", folder), "an empty folder: %s", dfx_error());
    put_config(VAE, "{", "{");
    ok(refused(DFX_ERROR_FILE, "diffusion_pytorch_model.safetensors", folder), "no weights");
    empty_folder();
    dfx_model *m;
    ok(dfx_model_open(&m, in_folder("no")) == DFX_ERROR_FILE && !m && strstr(dfx_error(), folder),
       "no folder: %s", dfx_error());
    dfx_model_free(NULL);
}

/* ---- wrong inputs ---- */

static void test_inputs(void)
{
    dfx_device *d;
    dfx_model *unet = open_model(UNET), *vae = open_model(VAE), *text = open_model(TEXT);
    dfx_model *deep = open_model("tiny/vae");
    if (!ok(unet && vae && text && deep && dfx_device_open(&d, "cpu") == DFX_OK,
            "four components open"))
        return;
    ok(strcmp(dfx_model_class(unet), "UNet2DConditionModel") == 0 &&
           strcmp(dfx_model_class(vae), "AutoencoderKL") == 0 &&
           strcmp(dfx_model_class(text), "CLIPTextModel") == 0,
       "their classes");
    ok(dfx_model_parameters(unet) == 51876, "parameters: %lld",
       (long long)dfx_model_parameters(unet));
    ok(forward_fails(unet, d, "x", &(dfx_spec){ DFX_F32, 4, { 1, 4, 8, 8 } }, 0,
                     "sample is missing"),
       "no sample: %s", dfx_error());
    ok(forward_fails(unet, d, "sample", &(dfx_spec){ DFX_F32, 4, { 1, 3, 8, 8 } }, 0,
                     "[-1, 4, -1, -1]"),
       "wrong channels: %s", dfx_error());
    ok(forward_fails(unet, d, "sample", &(dfx_spec){ DFX_F32, 4, { 1, 4, 8, 8 } }, 0, "timestep"),
       "no timestep: %s", dfx_error());
    ok(forward_fails(vae, d, "latent", &(dfx_spec){ DFX_F32, 3, { 4, 8, 8 } }, 0, "latent"),
       "wrong rank: %s", dfx_error());
    ok(forward_fails(vae, d, "latent", &(dfx_spec){ DFX_F32, 4, { 0, 4, 8, 8 } }, 0, "latent"),
       "nothing: %s", dfx_error());
    ok(forward_fails(text, d, "input_ids", &(dfx_spec){ DFX_F32, 2, { 1, 8 } }, 0, "input_ids"),
       "ids that are floats: %s", dfx_error());
    ok(forward_fails(text, d, "input_ids", &(dfx_spec){ DFX_I32, 2, { 1, 33 } }, 0, "33 tokens"),
       "too many tokens: %s", dfx_error());
    ok(forward_fails(text, d, "input_ids", &(dfx_spec){ DFX_I64, 2, { 1, 8 } }, 40, "id 40"),
       "an id that is not in the vocabulary: %s", dfx_error());
    ok(forward_fails(deep, d, "sample", &(dfx_spec){ DFX_F32, 4, { 1, 3, 1, 1 } }, 0, "encoder"),
       "a picture too small: %s", dfx_error());
    dfx_model_free(unet);
    dfx_model_free(deep);
    dfx_model_free(vae);
    dfx_model_free(text);
    dfx_device_free(d);
}

/* Decodes with an image and a mask of given sizes; NULL: without. */
static int mask_fails(const int64_t *image, const int64_t *mask, const char *word)
{
    static const float content[3 * 40 * 24];
    dfx_tensors *in, *out;
    dfx_model *m = open_model(ASYM);
    dfx_device *d;
    if (!m || dfx_device_open(&d, "cpu") || dfx_tensors_new(&in) || dfx_tensors_new(&out))
        exit(99);
    dfx_tensors_add(in, "latent", &(dfx_spec){ DFX_F32, 4, { 1, 4, 5, 3 } }, content);
    if (image)
        dfx_tensors_add(in, "image", &(dfx_spec){ DFX_F32, 4, { 1, image[0], image[1], image[2] } },
                        content);
    if (mask)
        dfx_tensors_add(in, "mask", &(dfx_spec){ DFX_F32, 4, { 1, mask[0], mask[1], mask[2] } },
                        content);
    int fails = dfx_model_forward(m, d, DFX_F32, in, out) == DFX_ERROR_ARGUMENT &&
                strstr(dfx_error(), word);
    dfx_tensors_free(in);
    dfx_tensors_free(out);
    dfx_model_free(m);
    dfx_device_free(d);
    return fails;
}

static void test_masks(void)
{
    static const int64_t image[] = { 3, 40, 24 }, mask[] = { 1, 40, 24 }, wide[] = { 1, 40, 25 };
    static const int64_t small[] = { 3, 20, 12 }, small_mask[] = { 1, 20, 12 };
    ok(mask_fails(image, NULL, "mask is missing"), "a picture without a mask: %s", dfx_error());
    ok(mask_fails(NULL, mask, "image is missing"), "a mask without a picture: %s", dfx_error());
    ok(mask_fails(image, image, "mask has shape"), "a mask of colours: %s", dfx_error());
    ok(mask_fails(image, wide, "mask must be [1, 1, 40, 24]"), "a mask of another size: %s",
       dfx_error());
    ok(mask_fails(small, small_mask, "image must be [1, 3, 40, 24]"),
       "a picture of another size: %s", dfx_error());
}

int main(void)
{
    make_folder("model");
    dfx_set_log(keep_log, NULL);
    test_device("cpu");
    test_device("opencl");
    ok(!strstr(logged, "not used") && !strstr(logged, "ignored"), "all of right folders is used");
    test_wrong_configs(wrong, sizeof wrong / sizeof *wrong);
    test_unknown_key();
    test_weights();
    test_files();
    test_inputs();
    test_masks();
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
