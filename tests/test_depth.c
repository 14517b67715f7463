/* test_depth.c - depth estimators: which configs and pictures they refuse. Their depth maps are
 * compared in test_model.c. */
#include "model_test.h"

#define HYBRID "models/dpt_hybrid"
#define PLAIN "models/dpt_plain"

static const struct wrong_config wrong[] = {
    { HYBRID, "\"SAME\"", "\"VALID\"", DFX_ERROR_UNSUPPORTED, "backbone_config: global_padding" },
    { HYBRID, "\"global_padding\": \"SAME\"", "\"padding\": 0", DFX_ERROR_UNSUPPORTED,
      "global_padding" },
    { HYBRID, "\"bottleneck\"", "\"preactivation\"", DFX_ERROR_UNSUPPORTED, "layer_type" },
    { HYBRID, "\"hidden_act\": \"relu\"", "\"hidden_act\": \"elu\"", DFX_ERROR_UNSUPPORTED,
      "backbone_config: hidden_act" },
    { HYBRID, "\"is_hybrid\": true", "\"is_hybrid\": false", DFX_ERROR_UNSUPPORTED,
      "backbone_config" },
    { HYBRID, "\"backbone_config\": {", "\"backbone_config\": 3, \"x\": {", DFX_ERROR_FORMAT,
      "backbone_config must be an object" },
    { HYBRID, "\"out_features\": [", "\"out_features\": [\"stem\",", DFX_ERROR_FORMAT,
      "out_features" },
    { HYBRID, "\"out_features\": [\n      \"stage1\",", "\"out_features\": [",
      DFX_ERROR_UNSUPPORTED, "out_features" },
    { HYBRID, "\"depths\": [", "\"depths\": [3,", DFX_ERROR_UNSUPPORTED, "depths" },
    { HYBRID, "\"depths\": [\n      1,", "\"depths\": [2147483647,", DFX_ERROR_FORMAT, "depths" },
    { HYBRID, "\"depths\": [\n      1,", "\"depths\": [2,", DFX_ERROR_FORMAT,
      "encoder.stages.0.layers.1.conv1.weight is missing" },
    { HYBRID, "\"hidden_sizes\": [\n      8,", "\"hidden_sizes\": [1000000000,", DFX_ERROR_FORMAT,
      "hidden_sizes" },
    { HYBRID, "\"hidden_sizes\": [\n      8,", "\"hidden_sizes\": [", DFX_ERROR_UNSUPPORTED,
      "hidden_sizes" },
    { HYBRID, "\"output_stride\": 32", "\"output_stride\": 8", DFX_ERROR_FORMAT, "output_stride" },
    { HYBRID, "\"num_groups\": 4", "\"num_groups\": 3", DFX_ERROR_UNSUPPORTED, "num_groups" },
    { HYBRID, "\"num_groups\": 4", "\"num_groups\": 0", DFX_ERROR_FORMAT, "num_groups" },
    { HYBRID, "\"width_factor\": 1", "\"width_factor\": 2", DFX_ERROR_UNSUPPORTED, "width_factor" },
    { HYBRID, "\"backbone_featmap_shape\": [\n    1,\n    24", "\"backbone_featmap_shape\": [1, 25",
      DFX_ERROR_UNSUPPORTED, "backbone_featmap_shape" },
    { HYBRID, "\"neck_ignore_stages\": [\n    0", "\"neck_ignore_stages\": [2",
      DFX_ERROR_UNSUPPORTED, "neck_ignore_stages" },
    { HYBRID, "\"neck_hidden_sizes\": [\n    8", "\"neck_hidden_sizes\": [9", DFX_ERROR_UNSUPPORTED,
      "neck_hidden_sizes" },
    { HYBRID, "\"neck_hidden_sizes\": [\n    8", "\"neck_hidden_sizes\": [\"8\"", DFX_ERROR_FORMAT,
      "neck_hidden_sizes" },
    { HYBRID, "\"project\"", "\"ignore\"", DFX_ERROR_UNSUPPORTED, "readout_type" },
    { HYBRID, "\"project\"", "\"mean\"", DFX_ERROR_UNSUPPORTED, "readout_type" },
    { HYBRID, "\"image_size\": 48", "\"image_size\": 50", DFX_ERROR_UNSUPPORTED, "patch_size" },
    { HYBRID, "\"image_size\": 48", "\"image_size\": [48, 48]", DFX_ERROR_FORMAT, "image_size" },
    { HYBRID, "\"add_projection\": false", "\"add_projection\": true", DFX_ERROR_UNSUPPORTED,
      "add_projection" },
    { HYBRID, "\"use_batch_norm_in_fusion_residual\": false",
      "\"use_batch_norm_in_fusion_residual\": true", DFX_ERROR_UNSUPPORTED,
      "use_batch_norm_in_fusion_residual" },
    { HYBRID, "\"head_in_index\": -1", "\"head_in_index\": 4", DFX_ERROR_FORMAT, "head_in_index" },
    { HYBRID, "{", "{ \"backbone\": \"resnet50\",", DFX_ERROR_UNSUPPORTED, "backbone" },
    { PLAIN, "\"patch_size\": 5", "\"patch_size\": 16", DFX_ERROR_UNSUPPORTED, "patch_size" },
    { PLAIN, "\"patch_size\": 5", "\"patch_size\": 4", DFX_ERROR_FORMAT,
      "patch_embeddings.projection.weight" },
    { PLAIN, "\"reassemble_factors\": [", "\"reassemble_factors\": [1,", DFX_ERROR_UNSUPPORTED,
      "reassemble_factors" },
    { PLAIN, "\"reassemble_factors\": [\n    3", "\"reassemble_factors\": [2.5",
      DFX_ERROR_UNSUPPORTED, "reassemble_factors" },
    { PLAIN, "\"reassemble_factors\": [\n    3", "\"reassemble_factors\": [1e30",
      DFX_ERROR_UNSUPPORTED, "reassemble_factors" },
    { PLAIN, "\"reassemble_factors\": [\n    3", "\"reassemble_factors\": [-1",
      DFX_ERROR_UNSUPPORTED, "reassemble_factors" },
    { PLAIN, "\"backbone_out_indices\": [\n    0", "\"backbone_out_indices\": [1",
      DFX_ERROR_UNSUPPORTED, "backbone_out_indices" },
    { PLAIN, "\"backbone_out_indices\": [", "\"backbone_out_indices\": [0,", DFX_ERROR_UNSUPPORTED,
      "backbone_out_indices" },
    { PLAIN, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", DFX_ERROR_UNSUPPORTED,
      "backbone_out_indices" },
    { PLAIN, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1000000", DFX_ERROR_FORMAT,
      "num_hidden_layers" },
    { PLAIN, "\"num_attention_heads\": 3", "\"num_attention_heads\": 5", DFX_ERROR_UNSUPPORTED,
      "num_attention_heads" },
    { PLAIN, "\"fusion_hidden_size\": 4", "\"fusion_hidden_size\": 1", DFX_ERROR_FORMAT,
      "fusion_hidden_size" },
    { PLAIN, "\"DPTForDepthEstimation\"", "\"DPTForSemanticSegmentation\"", DFX_ERROR_UNSUPPORTED,
      "DPTForSemanticSegmentation" },
};

static void test_sizes(void)
{
    dfx_device *d;
    dfx_model *hybrid = open_model(HYBRID), *plain = open_model(PLAIN);
    if (!ok(hybrid && plain && dfx_device_open(&d, "cpu") == DFX_OK, "both models open"))
        return;
    dfx_spec square = { DFX_F32, 4, { 1, 3, 16, 16 } }, wide = { DFX_F32, 4, { 1, 3, 15, 20 } };
    dfx_spec small = { DFX_F32, 4, { 1, 3, 4, 4 } }, gray = { DFX_F32, 4, { 1, 1, 15, 15 } };
    ok(forward_fails(hybrid, d, "pixel_values", &square, 0, "48 x 48"), "a hybrid's size: %s",
       dfx_error());
    ok(forward_fails(plain, d, "pixel_values", &wide, 0, "4 x 3 patches"),
       "more patches across than down: %s", dfx_error());
    ok(forward_fails(plain, d, "pixel_values", &small, 0, "0 x 0 patches"), "no patch: %s",
       dfx_error());
    ok(forward_fails(plain, d, "pixel_values", &gray, 0, "pixel_values"), "a gray picture: %s",
       dfx_error());
    dfx_device_free(d);
    dfx_model_free(hybrid);
    dfx_model_free(plain);
}

int main(void)
{
    make_folder("depth");
    test_wrong_configs(wrong, sizeof wrong / sizeof *wrong);
    test_sizes();
    rmdir(folder);
    return done();
}
