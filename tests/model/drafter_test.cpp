// The drafter against the reference's: logits, carried vectors and greedy drafts of every step, on every back-end; and
// drafters that belong to another model.
#include "model/drafter.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/mapped_file.h"
#include "files/safetensors.h"
#include "golden_support/backends.h"
#include "golden_support/golden_case.h"
#include "ops/select/select.h"

namespace lapidary {
namespace {

using testing::GoldenCase;
using ::testing::HasSubstr;

// Logits are dot products of 40 or 48 terms around 1, up to some 20 and without a cap. The reference's float32 target
// is 1e-5 away from one in double, a float32 drafter adds as much; 1e-3 is far below what any wrong order, mask,
// position or norm does to random weights.
constexpr double kTolerance = 1e-3;

template <class T>
T must(Result<T> result) {
  if (!result) ADD_FAILURE() << result.error().message;
  CHECK(result.has_value());
  return std::move(result).value();
}

std::vector<float> read(Ops& ops, TensorView x) {
  std::vector<float> values(static_cast<size_t>(x.rows) * static_cast<size_t>(x.cols));
  ops.read(x, values);
  return values;
}

// A model with room for prompts of up to 512 positions in pages that lie in order.
class OpenTarget {
 public:
  OpenTarget(const std::string& name, const std::string& device) {
    auto ops = must(make_ops(device, {.threads = 2, .precision = Precision::kFull, .kv_type = DType::kF32}));
    model_ = must(Model::open(testing::golden_model(name), std::move(ops), {.rows_max = kPositions}));
    KvLayout layout = kv_layout(model_->config());
    for (size_t kind = 0; kind < kAttentionKinds; ++kind) {
      layout.groups[kind].pages = kPositions / kPagePositions;
      for (int32_t page = 0; page < layout.groups[kind].pages; ++page) tables_[kind].pages.push_back(page);
    }
    EXPECT_TRUE(model_->ops().reserve_kv(layout));
    soft_ = must(model_->ops().allocate(kPositions, model_->config().dim, model_->ops().activation_type()));
  }

  Model& model() { return *model_; }

  // The whole prompt in one step; afterwards the decoder's hidden() is the row of its last position.
  void prefill(const GoldenCase& golden) {
    const int32_t rows = static_cast<int32_t>(golden.prompt.size());
    Batch batch;
    batch.token_ids = golden.prompt;
    batch.block_ends.assign(golden.prompt.size(), 0);
    for (int32_t p = 0; p < rows; ++p) batch.positions.push_back(p);
    for (const MediaSpan& span : golden.media) {
      const TensorView out = row_range(soft_, span.begin, span.end - span.begin);
      model_->soft_tokens().encode(*span.input, 0, out);
      batch.soft.push_back({span.begin, out});
      for (int32_t p = span.begin; p < span.end; ++p) {
        batch.token_ids[static_cast<size_t>(p)] = model_->config().pad_id;
        if (span.input->kind != MediaKind::kAudio) batch.block_ends[static_cast<size_t>(p)] = span.end;
      }
    }
    batch.logit_rows = {rows - 1};
    batch.slices.push_back({{&tables_[0], &tables_[1]}, 0, rows, rows});
    model_->decoder().forward(batch);
  }

  // One drafter row after `held` positions.
  Batch draft_batch(int32_t token, int32_t held) const {
    Batch batch;
    batch.token_ids = {token};
    batch.positions = {held};
    batch.block_ends = {0};
    batch.slices.push_back({{&tables_[0], &tables_[1]}, 0, 1, held, true});
    return batch;
  }

 private:
  static constexpr int32_t kPositions = 512;
  std::unique_ptr<Model> model_;
  std::array<PageTable, kAttentionKinds> tables_;
  TensorView soft_;
};

struct GoldenDrafts {
  Json json;
  Checkpoint tensors;
  // Row `step` of "logits" or "carried".
  std::vector<float> row(const std::string& tensor, size_t step) const {
    const TensorEntry* entry = tensors.find(tensor);
    CHECK(entry != nullptr && entry->element == "F32" && entry->shape.size() == 2);
    std::vector<float> values(static_cast<size_t>(entry->shape[1]));
    std::memcpy(values.data(), entry->bytes.data() + step * values.size() * sizeof(float),
                values.size() * sizeof(float));
    return values;
  }
};

std::vector<std::string> draft_names(const std::string& model) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_folder() / "drafts" / model)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

GoldenDrafts load_drafts(const std::string& model, const std::string& name) {
  const std::string stem = (testing::golden_folder() / "drafts" / model / name).string();
  GoldenDrafts golden;
  golden.json = must(parse_json(must(read_file(stem + ".json", 1 << 20)), name));
  MappedFile file = must(MappedFile::open(stem + ".safetensors"));
  std::vector<TensorEntry> tensors = must(parse_safetensors(file.bytes(), name));
  EXPECT_TRUE(golden.tensors.add(std::move(file), std::move(tensors)));
  return golden;
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  return worst;
}

class DrafterGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(DrafterGolden, LogitsCarriedVectorsAndDraftsOnEveryBackend) {
  const std::vector<std::string> names = draft_names(GetParam());
  ASSERT_GE(names.size(), 6u);
  for (const testing::Backend& backend : testing::backends()) {
    const testing::ForcedLevel forced(backend);
    OpenTarget target(GetParam(), backend.device);
    Ops& ops = target.model().ops();
    const auto drafter = must(Drafter::open(testing::golden_model(GetParam()) / "drafter", target.model(), 2));
    double worst_logit = 0, worst_carried = 0;
    for (const std::string& name : names) {
      const GoldenCase prompt = testing::load_golden_case(GetParam(), name);
      const GoldenDrafts golden = load_drafts(GetParam(), name);
      const std::string where = prompt.id() + " on " + backend.name();
      const auto drafts = golden.json["drafts"].get<std::vector<int32_t>>();
      const auto suppressed = prompt.json["suppressed"].get<std::vector<int32_t>>();
      target.prefill(prompt);
      drafter->begin(target.model().decoder().hidden());
      int32_t token = golden.json["newest"].get<int32_t>();
      for (size_t step = 0; step < drafts.size(); ++step) {
        const TensorView logits_view =
            drafter->step(target.draft_batch(token, static_cast<int32_t>(prompt.prompt.size())));
        std::vector<float> logits = read(ops, logits_view);
        worst_logit = std::max(worst_logit, worst_difference(logits, golden.row("logits", step)));
        worst_carried =
            std::max(worst_carried, worst_difference(read(ops, drafter->carried()), golden.row("carried", step)));
        ASSERT_LE(worst_logit, kTolerance) << where << ", step " << step;
        ASSERT_LE(worst_carried, kTolerance) << where << ", step " << step;
        for (const int32_t id : suppressed) logits[static_cast<size_t>(id)] = -INFINITY;
        token = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
        if (step < golden.json["comparable_steps"].get<size_t>()) {
          ASSERT_EQ(token, drafts[step]) << where << ", step " << step;
        }
        token = drafts[step];
      }
    }
    std::printf("%s on %s: largest difference of logits %.2g, of carried vectors %.2g\n", GetParam().c_str(),
                backend.name().c_str(), worst_logit, worst_carried);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DrafterGolden, ::testing::Values("unified-a", "unified-b"),
                         [](const auto& model) { return model.param == "unified-a" ? "a" : "b"; });

TEST(Drafter, LeavesTheTargetsKeysAndValuesAlone) {
  OpenTarget target("unified-a", "cpu");
  const GoldenCase prompt = testing::load_golden_case("unified-a", "text-long");
  const int32_t held = static_cast<int32_t>(prompt.prompt.size());
  const auto drafter = must(Drafter::open(testing::golden_model("unified-a") / "drafter", target.model(), 1));
  target.prefill(prompt);
  const std::vector<float> hidden = read(target.model().ops(), target.model().decoder().hidden());
  std::vector<std::vector<float>> rounds;
  for (int32_t round = 0; round < 2; ++round) {
    drafter->begin(target.model().decoder().hidden());
    for (int32_t step = 0; step < 3; ++step)
      rounds.push_back(read(target.model().ops(), drafter->step(target.draft_batch(40 + step, held))));
  }
  for (size_t step = 0; step < 3; ++step) EXPECT_EQ(rounds[step], rounds[step + 3]) << step;
  EXPECT_EQ(read(target.model().ops(), target.model().decoder().hidden()), hidden);
}

class DrafterConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto dir = must(open_model_dir(testing::golden_model("unified-a")));
    target_ = must(read_model_config(dir.config, "config.json"));
    json_ = must(open_model_dir(testing::golden_model("unified-a") / "drafter")).config;
  }
  std::string refusal() const {
    const auto config = read_drafter_config(json_, "draft.json", target_);
    return config ? "accepted" : config.error().message;
  }
  Json& text() { return json_["text_config"]; }
  ModelConfig target_;
  Json json_;
};

TEST_F(DrafterConfigTest, ReadsTheLastLayersOfTheTarget) {
  const auto config = read_drafter_config(json_, "draft.json", target_);
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->layers.size(), 4u);  // of the target's ssfssf
  EXPECT_EQ(config->layers[0].kv_source, 4);
  EXPECT_EQ(config->layers[2].kv_source, 4);
  EXPECT_EQ(config->layers[3].kv_source, 5);
  text()["num_kv_shared_layers"] = 0;  // means all of them
  EXPECT_EQ(refusal(), "accepted");
  text().erase("num_kv_shared_layers");
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(DrafterConfigTest, SaysEveryDifference) {
  text()["vocab_size"] = 640;
  json_["backbone_hidden_size"] = 65;
  text()["head_dim"] = 18;
  text()["num_global_key_value_heads"] = 4;
  const std::string message = refusal();
  EXPECT_THAT(message, HasSubstr("draft.json: the drafter does not belong to the model"));
  EXPECT_THAT(message, HasSubstr("vocab_size is 640, expected 641"));
  EXPECT_THAT(message, HasSubstr("backbone_hidden_size is 65, expected 64"));
  EXPECT_THAT(message, HasSubstr("layer 0 (sliding attention): head size is 18, expected 16"));
  EXPECT_THAT(message, HasSubstr("layer 3 (full attention): key/value heads is 4, expected 1"));
}

TEST_F(DrafterConfigTest, RefusesWhatIsNotADrafter) {
  const Json good = json_;
  json_["model_type"] = "gemma4_unified";
  EXPECT_THAT(refusal(), HasSubstr("for a drafter, found gemma4_unified"));
  json_ = good;
  text()["num_kv_shared_layers"] = 2;
  EXPECT_THAT(refusal(), HasSubstr("expected all 4 of a drafter, found 2"));
  json_ = good;
  json_.erase("backbone_hidden_size");
  EXPECT_THAT(refusal(), HasSubstr("backbone_hidden_size"));
  json_ = good;
  text()["num_attention_heads"] = 3;
  EXPECT_THAT(refusal(), HasSubstr("3 query heads cannot share 2 key/value heads evenly"));
  json_ = good;
  text()["layer_types"] = Json::array({"sliding_attention"});
  EXPECT_THAT(refusal(), HasSubstr("layer_types"));
  json_ = good;
  text()["enable_moe_block"] = true;
  EXPECT_THAT(refusal(), HasSubstr("neither per-layer inputs nor experts"));
}

TEST_F(DrafterConfigTest, EveryTensorIsChecked) {
  OpenTarget target("unified-a", "cpu");
  const auto dir = must(open_model_dir(testing::golden_model("unified-a") / "drafter"));
  text()["intermediate_size"] = 55;
  const auto config = must(read_drafter_config(json_, "draft.json", target_));
  const auto weights = bind_drafter_weights(dir.weights, config, "draft", target.model().ops());
  ASSERT_FALSE(weights);
  EXPECT_THAT(weights.error().message, HasSubstr("12 tensors do not fit"));
  EXPECT_THAT(weights.error().message, HasSubstr("model.layers.0.mlp.gate_proj.weight is [56, 40], expected [55, 40]"));
}

}  // namespace
}  // namespace lapidary
