// Golden cases of tests/golden: what the reference computed for one prompt of one tiny model, and the media it was
// given.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/request.h"
#include "files/checkpoint.h"

namespace lapidary::testing {

struct GoldenCase {
  std::string model, name;
  Json json;
  Checkpoint tensors;
  std::vector<int32_t> prompt;
  std::vector<MediaSpan> media;  // spans with the inputs our own media room makes of the files
  std::vector<int32_t> rows;     // positions whose values are kept

  std::string id() const { return model + "/" + name; }
  bool has(const std::string& tensor) const { return tensors.find(tensor) != nullptr; }
  // All values of a tensor, row by row.
  std::vector<float> values(const std::string& tensor) const;
  int32_t width(const std::string& tensor) const;  // product of all extents but the first
};

std::filesystem::path golden_folder();
std::filesystem::path golden_model(const std::string& model);
std::vector<std::string> golden_models();
std::vector<std::string> golden_case_names(const std::string& model);

// Fails the program with a message when files are missing or contradict each other: golden files are part of the tree.
GoldenCase load_golden_case(const std::string& model, const std::string& name);

}  // namespace lapidary::testing
