// Weights of the variants with borrowed K and V, per-layer inputs and experts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "model/model.h"
#include "model/model_copy.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

class BindVariants : public testing::ModelCopy {};

TEST_F(BindVariants, RedundantKeysAndValuesAreNotBound) {
  use("e2b");
  const auto model = open();
  ASSERT_TRUE(model) << model.error().message;
  const std::vector<LayerWeights>& layers = (*model)->weights().layers;
  EXPECT_NE((*model)->dir().weights.find("model.language_model.layers.9.self_attn.k_proj.weight"), nullptr);
  EXPECT_TRUE(layers[9].k.empty() && layers[9].v.empty() && layers[9].k_norm.empty());
  EXPECT_FALSE(layers[4].k.empty() || layers[4].v.empty());
  EXPECT_EQ(layers[4].mlp.gate.out, 40);
  EXPECT_EQ(layers[5].mlp.gate.out, 80);
}

TEST_F(BindVariants, ThePerLayerTableIsScaledByARoundedRootAndStaysInTheFile) {
  use("e2b");
  const auto model = open();
  ASSERT_TRUE(model) << model.error().message;
  const QuantizedMatrix& table = (*model)->weights().per_layer_inputs.table;
  EXPECT_EQ(table.scale, 3.46875f);  // sqrt(12) = 3.4641 in bf16
  EXPECT_EQ(table.in, 10 * 12);
  EXPECT_EQ(table.packed, -1);
  replace("config.json", "\"hidden_size_per_layer_input\": 12", "\"hidden_size_per_layer_input\": 13");
  EXPECT_THAT(message(), HasSubstr("embed_tokens_per_layer.weight is [641, 120], expected [641, 130]"));
}

TEST_F(BindVariants, ExpertsAreGateBeforeUp) {
  use("a26b");
  const auto model = open();
  ASSERT_TRUE(model) << model.error().message;
  const TensorEntry* stored = (*model)->dir().weights.find("model.language_model.layers.1.experts.gate_up_proj");
  ASSERT_NE(stored, nullptr);
  const MlpWeights& expert = (*model)->weights().layers[1].moe->experts.at(5);
  const int64_t row = row_bytes(expert.gate.format, expert.gate.in);
  EXPECT_EQ(expert.gate.blocks.data(), stored->bytes.data() + 5 * 48 * row);
  EXPECT_EQ(expert.up.blocks.data(), stored->bytes.data() + (5 * 48 + 24) * row);
  EXPECT_EQ(expert.down.out, 56);
  EXPECT_EQ(expert.down.in, 24);
}

TEST_F(BindVariants, ADecodedTokenReadsTheExpertsItChooses) {
  use("a26b");
  const auto model = open();
  ASSERT_TRUE(model) << model.error().message;
  int64_t values = 641 * 56;  // the head
  for (const char kind : std::string("ssfsf")) {
    const int64_t head_dim = kind == 'f' ? 32 : 16, kv = kind == 'f' ? 2 * 32 : 2 * 4 * 16;  // K alone, or K and V
    values += 56 * (2 * 8 * head_dim + kv) + 3 * 56 * 40 + 12 * 56 + 4 * 3 * 56 * 24;
  }
  EXPECT_EQ((*model)->weights().bytes_per_token, 2 * values);
}

TEST_F(BindVariants, NamesWhatDoesNotFit) {
  use("a26b");
  replace("config.json", "\"moe_intermediate_size\": 24", "\"moe_intermediate_size\": 25");
  EXPECT_THAT(message(), HasSubstr("10 tensors do not fit config.json"));
  EXPECT_THAT(message(), HasSubstr("layers.0.experts.gate_up_proj is [12, 48, 56], expected [12, 50, 56]"));
}

TEST_F(BindVariants, AModelWithoutTowersTakesTextAlone) {
  use("e4b");
  const auto model = open();
  ASSERT_TRUE(model) << model.error().message;
  for (const MediaKind kind : {MediaKind::kImage, MediaKind::kVideo, MediaKind::kAudio}) {
    MediaInput input;
    input.kind = kind;
    const auto refused = check_media((*model)->config(), input);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  }
}

TEST_F(BindVariants, TheConformersTensorsAreChecked) {
  use("e2b-audio");
  {
    const auto model = open();
    ASSERT_TRUE(model) << model.error().message;
    const AudioTowerWeights& tower = (*model)->weights().audio_tower;
    ASSERT_EQ(tower.layers.size(), 3u);
    EXPECT_EQ(tower.layers[0].conv.rows, 5);  // a row for each tap, whatever the file's order
    EXPECT_EQ(tower.layers[0].conv.cols, 32);
    EXPECT_TRUE(tower.layers[0].q.input == tower.layers[0].k.input);
    EXPECT_FALSE(tower.layers[0].q.input.unbounded());
    EXPECT_EQ(tower.conv_second.in, 9 * 128);
    EXPECT_EQ(tower.projection.out, 48);
  }
  replace("config.json", "\"conv_kernel_size\": 5", "\"conv_kernel_size\": 3");
  EXPECT_THAT(message(), HasSubstr("3 tensors do not fit config.json: "
                                   "model.audio_tower.layers.0.lconv1d.depthwise_conv1d.weight is [32, 1, 5], expected "
                                   "[32, 1, 3]"));
  replace("config.json", "\"conv_kernel_size\": 3", "\"conv_kernel_size\": 5");
  replace("config.json", "\"output_proj_dims\": 24", "\"output_proj_dims\": 25");
  EXPECT_THAT(message(), HasSubstr("output_proj.weight is [24, 32], expected [25, 32]"));
  replace("config.json", "\"output_proj_dims\": 25", "\"output_proj_dims\": 24");
  replace("config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4");
  EXPECT_THAT(message(), HasSubstr("model.audio_tower.layers.3.feed_forward1.pre_layer_norm.weight is missing"));
}

}  // namespace
}  // namespace lapidary
