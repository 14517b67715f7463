/* test_unet2d.c - what a UNet2DModel refuses; test_model.c compares what it computes. */
#include "model_test.h"

#define DDPM "models/unet2d_plain"
#define NCSNPP "models/unet2d_ncsnpp"

static const struct wrong_config wrong[] = {
    { DDPM, "\"UNetResDownBlock2D\"", "\"KDownBlock2D\"", DFX_ERROR_UNSUPPORTED,
      "down_block_types: KDownBlock2D" },
    { DDPM, "\"UNetResUpBlock2D\"", "\"DownBlock2D\"", DFX_ERROR_UNSUPPORTED,
      "up_block_types: DownBlock2D" },
    { DDPM, "\"UNetResUpBlock2D\"", "\"UpBlock2D\", \"UpBlock2D\"", DFX_ERROR_UNSUPPORTED,
      "up_block_types" },
    { DDPM, "\"time_embedding_type\": \"positional\"", "\"time_embedding_type\": \"learned\"",
      DFX_ERROR_UNSUPPORTED, "num_train_timesteps" },
    { DDPM, "\"time_embedding_type\": \"positional\"", "\"time_embedding_type\": \"sinusoid\"",
      DFX_ERROR_UNSUPPORTED, "time_embedding_type: sinusoid" },
    { DDPM, "\"time_embedding_type\": \"positional\"", "\"time_embedding_type\": \"fourier\"",
      DFX_ERROR_FORMAT, "time_proj.weight" },
    { DDPM, "\"class_embed_type\": null", "\"class_embed_type\": \"projection\"",
      DFX_ERROR_UNSUPPORTED, "class_embed_type: projection" },
    { DDPM, "\"num_class_embeds\": null", "\"num_class_embeds\": 1000000000", DFX_ERROR_FORMAT,
      "num_class_embeds" },
    { DDPM, "\"resnet_time_scale_shift\": \"default\"",
      "\"resnet_time_scale_shift\": \"ada_group\"", DFX_ERROR_UNSUPPORTED,
      "resnet_time_scale_shift: ada_group" },
    { DDPM, "\"mid_block_type\": \"UNetMidBlock2D\"",
      "\"mid_block_type\": \"UNetMidBlock2DCrossAttn\"", DFX_ERROR_UNSUPPORTED, "mid_block_type" },
    { DDPM, "\"downsample_type\": \"conv\"", "\"downsample_type\": \"fir\"", DFX_ERROR_UNSUPPORTED,
      "downsample_type: fir" },
    { DDPM, "\"norm_num_groups\": 4", "\"norm_num_groups\": null", DFX_ERROR_UNSUPPORTED,
      "norm_num_groups" },
    { DDPM, "\"attention_head_dim\": 4", "\"attention_head_dim\": 9", DFX_ERROR_UNSUPPORTED,
      "attention_head_dim" },
    { DDPM, "\"block_out_channels\": [", "\"block_out_channels\": [1000000000, ", DFX_ERROR_FORMAT,
      "block_out_channels" },
    { DDPM, "\"layers_per_block\": 2", "\"layers_per_block\": 2147483648", DFX_ERROR_FORMAT,
      "layers_per_block" },
    { DDPM, "\"sample_size\": 8", "\"sample_size\": 1000000", DFX_ERROR_FORMAT, "sample_size" },
    { DDPM, "\"mid_block_scale_factor\": 1.5", "\"mid_block_scale_factor\": 0",
      DFX_ERROR_UNSUPPORTED, "mid_block_scale_factor" },
    { NCSNPP, "\"in_channels\": 3", "\"in_channels\": 4", DFX_ERROR_UNSUPPORTED, "in_channels" },
    { NCSNPP, "    4,\n    32,", "    6,\n    32,", DFX_ERROR_UNSUPPORTED, "block_out_channels" },
};

static void test_inputs(void)
{
    dfx_device *d;
    dfx_model *m = open_model(DDPM);
    if (!ok(m && dfx_device_open(&d, "cpu") == DFX_OK, "a UNet2DModel opens"))
        return;
    ok(forward_fails(m, d, "x", &(dfx_spec){ DFX_F32, 4, { 1, 3, 4, 4 } }, 0, "sample is missing"),
       "no sample: %s", dfx_error());
    ok(forward_fails(m, d, "sample", &(dfx_spec){ DFX_F32, 4, { 1, 9, 4, 4 } }, 0, "-1, -1]"),
       "wrong channels: %s", dfx_error());
    dfx_model_free(m);
    dfx_device_free(d);
}

int main(void)
{
    make_folder("model");
    test_wrong_configs(wrong, sizeof wrong / sizeof *wrong);
    test_inputs();
    ok(rmdir(folder) == 0, "no temporary file is left");
    return done();
}
