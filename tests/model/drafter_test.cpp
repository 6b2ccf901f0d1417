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
#include <fstream>
#include <functional>

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

std::vector<float> read_logits(Drafter& drafter, int32_t row = 0) {
  std::vector<float> values(static_cast<size_t>(drafter.config().vocab));
  drafter.read_logits(row, values);
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

// What the reference says of tokens that no chosen cluster holds (the least score minus one) is -infinity here.
void mask_unscored(std::vector<float>& golden) {
  const float mask = *std::min_element(golden.begin(), golden.end());
  for (float& value : golden) value = value == mask ? -INFINITY : value;
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;  // -infinity, too
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  return worst;
}

class DrafterGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(DrafterGolden, LogitsCarriedVectorsAndDraftsOnEveryBackend) {
  const std::vector<std::string> names = draft_names(GetParam());
  ASSERT_GE(names.size(), 4u);
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
        drafter->step(target.draft_batch(token, static_cast<int32_t>(prompt.prompt.size())));
        std::vector<float> logits = read_logits(*drafter), expected = golden.row("logits", step);
        if (drafter->config().clusters > 0) mask_unscored(expected);
        worst_logit = std::max(worst_logit, worst_difference(logits, expected));
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

INSTANTIATE_TEST_SUITE_P(Models, DrafterGolden,
                         ::testing::Values("unified-a", "unified-b", "e2b-mtp", "e4b-mtp", "a26b", "d31b"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// One step of two rows: the same bits as each by itself, though their clusters differ.
TEST(Drafter, RowsOfABatchDoNotSeeEachOther) {
  for (const char* name : {"unified-a", "e2b-mtp"}) {
    OpenTarget target(name, "cpu");
    const GoldenCase prompt = testing::load_golden_case(name, "text-long");
    const int32_t held = static_cast<int32_t>(prompt.prompt.size());
    const auto drafter = must(Drafter::open(testing::golden_model(name) / "drafter", target.model(), 2));
    target.prefill(prompt);
    Ops& ops = target.model().ops();
    const TensorView hidden = target.model().decoder().hidden();
    std::vector<std::vector<float>> alone;
    Batch both;
    for (const int32_t token : {40, 371}) {
      drafter->begin(hidden);
      Batch one = target.draft_batch(token, held);
      drafter->step(one);
      alone.push_back(read_logits(*drafter));
      one.slices[0].first_row = both.rows();
      both.token_ids.push_back(token);
      both.positions.push_back(held);
      both.block_ends.push_back(0);
      both.slices.push_back(one.slices[0]);
    }
    const TensorView two = must(ops.allocate(2, hidden.cols, hidden.dtype));
    for (int32_t r = 0; r < 2; ++r) ops.copy(hidden, row_range(two, r, 1));
    drafter->begin(two);
    drafter->step(both);
    EXPECT_NE(alone[0], alone[1]);
    for (int32_t r = 0; r < 2; ++r) EXPECT_EQ(read_logits(*drafter, r), alone[static_cast<size_t>(r)]) << name;
  }
}

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
    for (int32_t step = 0; step < 3; ++step) {
      drafter->step(target.draft_batch(40 + step, held));
      rounds.push_back(read_logits(*drafter));
    }
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

// E2B's drafter, whose head is clustered.
class ClusteredHead : public DrafterConfigTest {
 protected:
  void SetUp() override {
    target_ = must(read_model_config(must(open_model_dir(testing::golden_model("e2b-mtp"))).config, "config.json"));
    json_ = must(open_model_dir(testing::golden_model("e2b-mtp") / "drafter")).config;
  }
  // What binding says to the drafter's weights with one tensor's bytes changed.
  static std::string binding(const std::string& tensor, const std::function<void(std::span<std::byte>)>& change) {
    const auto folder = std::filesystem::path(::testing::TempDir()) / "lapidary_clustered_head_test";
    std::filesystem::remove_all(folder);
    std::filesystem::copy(testing::golden_model("e2b-mtp") / "drafter", folder);
    const std::string path = (folder / "model.safetensors").string();
    std::string bytes = must(read_file(path, 1 << 24));
    {
      const auto tensors = must(parse_safetensors(std::as_bytes(std::span(bytes.data(), bytes.size())), path));
      for (const TensorEntry& entry : tensors) {
        if (entry.name != tensor) continue;
        change({const_cast<std::byte*>(entry.bytes.data()), entry.bytes.size()});
      }
    }
    std::ofstream(path, std::ios::binary) << bytes;
    OpenTarget target("e2b-mtp", "cpu");
    const auto drafter = Drafter::open(folder, target.model(), 1);
    std::filesystem::remove_all(folder);
    return drafter ? "opened" : drafter.error().message;
  }
};

TEST_F(ClusteredHead, ReadsItsClusters) {
  const auto config = must(read_drafter_config(json_, "draft.json", target_));
  EXPECT_EQ(config.clusters, 27);
  EXPECT_EQ(config.active_clusters, 5);
  EXPECT_EQ(config.cluster_tokens(), 24);
  ASSERT_EQ(config.layers.size(), 4u);
  EXPECT_EQ(config.layers[0].kv_source, 3);  // of ssfsf|ssf: the last with K and V of its own
  EXPECT_EQ(config.layers[3].kv_source, 4);
  json_["use_ordered_embeddings"] = false;
  EXPECT_EQ(must(read_drafter_config(json_, "draft.json", target_)).clusters, 0);
  json_.erase("use_ordered_embeddings");
  EXPECT_EQ(must(read_drafter_config(json_, "draft.json", target_)).clusters, 0);
}

TEST_F(ClusteredHead, RefusesClustersThatDoNotFit) {
  json_["num_centroids"] = 28;
  EXPECT_THAT(refusal(), HasSubstr("draft.json: \"num_centroids\": expected a divisor of vocab_size, 648, found 28"));
  json_["num_centroids"] = 27;
  json_["centroid_intermediate_top_k"] = 28;
  EXPECT_THAT(refusal(), HasSubstr("\"centroid_intermediate_top_k\": expected an integer in [1, 27], found 28"));
}

TEST_F(ClusteredHead, RefusesAnOrderThatIsNone) {
  const std::string order = "masked_embedding.token_ordering";
  EXPECT_EQ(binding(order, [](std::span<std::byte>) {}), "opened");
  const auto set = [](size_t index, int64_t value) {
    return
        [=](std::span<std::byte> bytes) { std::memcpy(bytes.data() + index * sizeof(value), &value, sizeof(value)); };
  };
  EXPECT_THAT(binding(order, set(7, 648)), HasSubstr(order + ": value 7 is 648, expected one in [0, 648)"));
  EXPECT_THAT(binding(order, set(647, -1)), HasSubstr(order + ": value 647 is -1, expected one in [0, 648)"));
  EXPECT_THAT(binding(order, [](std::span<std::byte> bytes) { std::memcpy(bytes.data(), bytes.data() + 8, 8); }),
              HasSubstr("stands in it twice"));
}

TEST_F(ClusteredHead, NeedsItsTensors) {
  OpenTarget target("unified-a", "cpu");
  const auto dir = must(open_model_dir(testing::golden_model("unified-a") / "drafter"));
  auto config = must(read_drafter_config(must(parse_json(dir.config.dump(), "d")), "d", target.model().config()));
  config.clusters = 1;
  config.active_clusters = 1;
  const auto weights = bind_drafter_weights(dir.weights, config, "draft", target.model().ops());
  ASSERT_FALSE(weights);
  EXPECT_THAT(weights.error().message, HasSubstr("masked_embedding.centroids.weight is missing, expected [1, 40]"));
  EXPECT_THAT(weights.error().message, HasSubstr("masked_embedding.token_ordering is missing, expected [641]"));
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
