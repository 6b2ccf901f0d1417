#include <cmath>

#include "base/check.h"
#include "ops/ops.h"

namespace lapidary {

std::vector<float> rope_frequencies(const RopeSpec& rope, int32_t head_dim) {
  CHECK(head_dim > 0 && head_dim % 2 == 0);
  // int(rotary_fraction * head_dim // 2) pairs rotate.
  const int32_t pairs = static_cast<int32_t>(std::floor(static_cast<double>(rope.rotary_fraction) * head_dim / 2));
  std::vector<float> frequencies(static_cast<size_t>(pairs));
  for (int32_t i = 0; i < pairs; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float power = static_cast<float>(std::pow(static_cast<double>(rope.theta), static_cast<double>(exponent)));
    frequencies[static_cast<size_t>(i)] = 1.0f / power;
  }
  return frequencies;
}

RopeAngle rope_angle(int32_t position, float frequency) {
  const float angle = static_cast<float>(position) * frequency;
  return {static_cast<float>(std::cos(static_cast<double>(angle))),
          static_cast<float>(std::sin(static_cast<double>(angle)))};
}

}  // namespace lapidary
