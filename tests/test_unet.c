/* test_unet.c - what a UNet2DConditionModel refuses; test_model.c compares what it computes. */
#include "model_test.h"

#define UNET "models/unet_cross"
#define SDXL "models/unet_sdxl"
#define K "models/unet_k"
#define LEVELS "models/unet_levels"
#define MISH "models/unet_mish"
#define ADDED "models/unet_added"

static const struct wrong_config wrong[] = {
    { UNET, "\"UNet2DConditionModel\"", "\"UNetMotionModel\"", DFX_ERROR_UNSUPPORTED,
      "UNetMotionModel" },
    { UNET, "\"_class_name\"", "\"class\"", DFX_ERROR_FORMAT, "_class_name" },
    { UNET, "{", "[{", DFX_ERROR_FORMAT, "config.json" },
    { UNET, "\"class_embed_type\": null", "\"class_embed_type\": \"label\"", DFX_ERROR_UNSUPPORTED,
      "class_embed_type: label" },
    { UNET, "\"class_embed_type\": null", "\"class_embed_type\": \"projection\"",
      DFX_ERROR_UNSUPPORTED, "projection_class_embeddings_input_dim" },
    { UNET, "\"class_embed_type\": null", "\"class_embed_type\": \"timestep\"", DFX_ERROR_FORMAT,
      "class_embedding.linear_1.weight is missing" },
    { UNET, "\"class_embeddings_concat\": false", "\"class_embeddings_concat\": true",
      DFX_ERROR_UNSUPPORTED, "class_embeddings_concat" },
    { UNET, "\"num_class_embeds\": null", "\"num_class_embeds\": 2147483647", DFX_ERROR_FORMAT,
      "num_class_embeds" },
    { UNET, "\"num_class_embeds\": null", "\"num_class_embeds\": 10", DFX_ERROR_FORMAT,
      "class_embedding.weight is missing" },
    { UNET, "\"addition_embed_type\": null", "\"addition_embed_type\": \"text\"",
      DFX_ERROR_UNSUPPORTED, "addition_embed_type_num_heads" },
    { UNET, "\"addition_embed_type\": null", "\"addition_embed_type\": \"text_image\"",
      DFX_ERROR_UNSUPPORTED, "addition_embed_type: text_image" },
    { UNET, "\"addition_embed_type\": null", "\"addition_embed_type\": \"text_time\"",
      DFX_ERROR_UNSUPPORTED, "addition_time_embed_dim" },
    { SDXL, "\"addition_time_embed_dim\": 6", "\"addition_time_embed_dim\": 7",
      DFX_ERROR_UNSUPPORTED, "addition_time_embed_dim" },
    { SDXL, "\"addition_time_embed_dim\": 6", "\"addition_time_embed_dim\": 1000000000",
      DFX_ERROR_FORMAT, "addition_time_embed_dim" },
    { SDXL, "\"projection_class_embeddings_input_dim\": 49",
      "\"projection_class_embeddings_input_dim\": 6", DFX_ERROR_UNSUPPORTED,
      "projection_class_embeddings_input_dim" },
    { SDXL, "\"projection_class_embeddings_input_dim\": 49",
      "\"projection_class_embeddings_input_dim\": 50", DFX_ERROR_FORMAT,
      "add_embedding.linear_1.weight" },
    { SDXL, "\"transformer_layers_per_block\": [\n    1,",
      "\"transformer_layers_per_block\": [\n    [1, 1],", DFX_ERROR_UNSUPPORTED,
      "transformer_layers_per_block: lists in it need reverse_transformer_layers_per_block" },
    { SDXL, "\"transformer_layers_per_block\": [\n    1,",
      "\"transformer_layers_per_block\": [\n    1000000000,", DFX_ERROR_FORMAT,
      "transformer_layers_per_block" },
    { SDXL, "\"reverse_transformer_layers_per_block\": null",
      "\"reverse_transformer_layers_per_block\": [1, [2], 1]", DFX_ERROR_UNSUPPORTED,
      "transformer_layers_per_block: a list in it is too short" },
    { UNET, "\"time_cond_proj_dim\": null", "\"time_cond_proj_dim\": 256", DFX_ERROR_FORMAT,
      "time_embedding.cond_proj.weight is missing" },
    { UNET, "\"time_embedding_type\": \"positional\"", "\"time_embedding_type\": \"learned\"",
      DFX_ERROR_UNSUPPORTED, "time_embedding_type" },
    { UNET, "\"time_embedding_act_fn\": null", "\"time_embedding_act_fn\": \"tanh\"",
      DFX_ERROR_UNSUPPORTED, "time_embedding_act_fn: tanh" },
    { UNET, "\"encoder_hid_dim_type\": null", "\"encoder_hid_dim_type\": \"image_proj\"",
      DFX_ERROR_UNSUPPORTED, "encoder_hid_dim_type: image_proj" },
    { UNET, "\"encoder_hid_dim_type\": null", "\"encoder_hid_dim_type\": \"text_proj\"",
      DFX_ERROR_UNSUPPORTED, "encoder_hid_dim:" },
    { UNET, "\"CrossAttnDownBlock2D\"", "\"AttnSkipDownBlock2D\"", DFX_ERROR_UNSUPPORTED,
      "down_block_types: AttnSkipDownBlock2D" },
    { UNET, "\"CrossAttnUpBlock2D\"", "\"CrossAttnDownBlock2D\"", DFX_ERROR_UNSUPPORTED,
      "up_block_types: CrossAttnDownBlock2D" },
    { UNET, "\"mid_block_type\": \"UNetMidBlock2DCrossAttn\"", "\"mid_block_type\": \"Mid\"",
      DFX_ERROR_UNSUPPORTED, "mid_block_type: Mid" },
    { UNET, "\"act_fn\": \"silu\"", "\"act_fn\": \"tanh\"", DFX_ERROR_UNSUPPORTED, "act_fn: tanh" },
    { UNET, "\"dual_cross_attention\": false", "\"dual_cross_attention\": true",
      DFX_ERROR_UNSUPPORTED, "dual_cross_attention" },
    { UNET, "\"num_attention_heads\": null", "\"num_attention_heads\": 4", DFX_ERROR_UNSUPPORTED,
      "num_attention_heads" },
    { UNET, "\"cross_attention_norm\": null", "\"cross_attention_norm\": \"rms_norm\"",
      DFX_ERROR_UNSUPPORTED, "cross_attention_norm" },
    { UNET, "\"resnet_time_scale_shift\": \"default\"", "\"resnet_time_scale_shift\": \"spatial\"",
      DFX_ERROR_UNSUPPORTED, "resnet_time_scale_shift: spatial" },
    { UNET, "\"resnet_out_scale_factor\": 1.0", "\"resnet_out_scale_factor\": 0",
      DFX_ERROR_UNSUPPORTED, "resnet_out_scale_factor" },
    { UNET, "\"norm_num_groups\": 4", "\"norm_num_groups\": null", DFX_ERROR_UNSUPPORTED,
      "norm_num_groups" },
    { UNET, "\"cross_attention_dim\": 12", "\"cross_attention_dim\": [12, 13]",
      DFX_ERROR_UNSUPPORTED, "cross_attention_dim" },
    { K, "\"KUpBlock2D\"", "\"UpBlock2D\"", DFX_ERROR_UNSUPPORTED, "up_block_types" },
    { K, "\"KUpBlock2D\"", "\"KCrossAttnDownBlock2D\"", DFX_ERROR_UNSUPPORTED, "up_block_types" },
    { K, "\"KDownBlock2D\"", "\"DownBlock2D\"", DFX_ERROR_UNSUPPORTED, "up_block_types" },
    { K, "\"time_embedding_dim\": 40", "\"time_embedding_dim\": 42", DFX_ERROR_UNSUPPORTED,
      "up_block_types: these K blocks do not fit the down blocks" },
    { K, "\"time_embedding_dim\": 40", "\"time_embedding_dim\": 41", DFX_ERROR_UNSUPPORTED,
      "time_embedding_dim: fourier needs an even number" },
    { K, "\"block_out_channels\": [\n    32,", "\"block_out_channels\": [\n    16,",
      DFX_ERROR_UNSUPPORTED, "block_out_channels" },
    { K, "\"attention_head_dim\": 8", "\"attention_head_dim\": 3", DFX_ERROR_UNSUPPORTED,
      "attention_head_dim" },
    { ADDED, "\"cross_attention_dim\": 64", "\"cross_attention_dim\": 63", DFX_ERROR_UNSUPPORTED,
      "cross_attention_norm" },
    { ADDED, "\"cross_attention_norm\": \"group_norm\"", "\"cross_attention_norm\": \"layer_norm\"",
      DFX_ERROR_UNSUPPORTED, "cross_attention_norm" },
    { ADDED, "\"encoder_hid_dim\": 10", "\"encoder_hid_dim\": 1000000000", DFX_ERROR_FORMAT,
      "encoder_hid_dim" },
    { UNET, "\"norm_num_groups\": 4", "\"norm_num_groups\": 3", DFX_ERROR_UNSUPPORTED,
      "norm_num_groups" },
    { UNET, "\"attention_head_dim\": 4", "\"attention_head_dim\": 3", DFX_ERROR_UNSUPPORTED,
      "attention_head_dim" },
    { UNET, "\"layers_per_block\": 1", "\"layers_per_block\": 2147483648", DFX_ERROR_FORMAT,
      "layers_per_block" },
    { UNET, "\"layers_per_block\": 1", "\"layers_per_block\": [1]", DFX_ERROR_FORMAT,
      "layers_per_block" },
    { UNET, "\"in_channels\": 4", "\"in_channels\": 1000000000", DFX_ERROR_FORMAT, "in_channels" },
    { UNET, "\"in_channels\": 4", "\"in_channels\": \"4\"", DFX_ERROR_FORMAT, "in_channels" },
    { UNET, "\"mid_block_scale_factor\": 1", "\"mid_block_scale_factor\": 0", DFX_ERROR_UNSUPPORTED,
      "mid_block_scale_factor" },
    { UNET, "\"only_cross_attention\": true", "\"only_cross_attention\": [true]", DFX_ERROR_FORMAT,
      "only_cross_attention" },
    { UNET, "\"only_cross_attention\": true", "\"only_cross_attention\": [true, 1]",
      DFX_ERROR_FORMAT, "only_cross_attention" },
};

/* ---- wrong inputs ---- */

/* The inputs of a UNet, where `name` has so many columns of zeros, or is missing with 0. */
static int unet_fails(dfx_model *m, dfx_device *d, const char *component, const char *name,
                      int64_t columns, const char *word)
{
    static const float zeros[64];
    dfx_tensors *from = read_side(component, "in"), *in, *out;
    dfx_tensors_new(&in);
    dfx_tensors_new(&out);
    for (int i = 0; i < dfx_tensors_count(from); i++) {
        const dfx_tensor *t = dfx_tensors_at(from, i);
        dfx_spec changed = { DFX_F32, 2, { t->spec.dim[0], columns } };
        if (strcmp(t->name, name) != 0)
            dfx_tensors_add(in, t->name, &t->spec, t->data);
        else if (columns)
            dfx_tensors_add(in, name, &changed, zeros);
    }
    int good = dfx_model_forward(m, d, DFX_F32, in, out) == DFX_ERROR_ARGUMENT &&
               strstr(dfx_error(), word);
    dfx_tensors_free(from);
    dfx_tensors_free(in);
    dfx_tensors_free(out);
    return good;
}

static void test_added_inputs(void)
{
    dfx_device *d;
    dfx_model *m = open_model(SDXL);
    if (!ok(m && dfx_device_open(&d, "cpu") == DFX_OK, "SDXL's UNet opens"))
        return;
    ok(unet_fails(m, d, SDXL, "time_ids", 0, "time_ids is missing"), "no sizes: %s", dfx_error());
    ok(unet_fails(m, d, SDXL, "time_ids", 9, "9 entries"), "too many sizes: %s", dfx_error());
    ok(unet_fails(m, d, SDXL, "time_ids", 8, "[3, 1]"), "other sizes need another text: %s",
       dfx_error());
    ok(unet_fails(m, d, SDXL, "text_embeds", 0, "text_embeds is missing"), "no pooled text: %s",
       dfx_error());
    ok(unet_fails(m, d, SDXL, "text_embeds", 12, "[3, 13]"), "a pooled text too short: %s",
       dfx_error());
    dfx_model_free(m);
    dfx_device_free(d);
}

static void test_class_inputs(void)
{
    dfx_device *d;
    dfx_model *ids = open_model(LEVELS), *vectors = open_model(MISH), *k = open_model(K);
    if (!ok(ids && vectors && k && dfx_device_open(&d, "cpu") == DFX_OK, "UNets with classes open"))
        return;
    ok(unet_fails(ids, d, LEVELS, "class_labels", 0, "class_labels [batch] must be"), "no ids: %s",
       dfx_error());
    ok(unet_fails(ids, d, LEVELS, "class_labels", 1, "class_labels [batch] must be"),
       "ids that are floats: %s", dfx_error());
    ok(forward_fails(ids, d, "sample", &(dfx_spec){ DFX_F32, 4, { 1, 4, 2, 2 } }, 0, "[-1, 7"),
       "another UNet's channels: %s", dfx_error());
    ok(unet_fails(vectors, d, MISH, "class_labels", 0, "class_labels is missing"), "no vectors: %s",
       dfx_error());
    ok(unet_fails(vectors, d, MISH, "class_labels", 8, "[3, 9]"), "vectors too short: %s",
       dfx_error());
    ok(unet_fails(k, d, K, "timestep_cond", 12, "[3, 11]"), "a condition too long: %s",
       dfx_error());
    dfx_model_free(ids);
    dfx_model_free(vectors);
    dfx_model_free(k);
    dfx_device_free(d);
}

int main(void)
{
    make_folder("model");
    test_wrong_configs(wrong, sizeof wrong / sizeof *wrong);
    test_added_inputs();
    test_class_inputs();
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
