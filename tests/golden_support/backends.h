// Every back-end and CPU level this machine can run, to run golden tests on each.
#pragma once

#include <string>
#include <vector>

namespace lapidary::testing {

struct Backend {
  std::string device;  // "reference" or "cpu"
  std::string level;   // of cpu: "baseline", "avx2", ...
  std::string name() const { return level.empty() ? device : device + "/" + level; }
};

std::vector<Backend> backends();

// Makes make_ops choose this back-end's level while it lives.
class ForcedLevel {
 public:
  explicit ForcedLevel(const Backend& backend);
  ~ForcedLevel();
  ForcedLevel(const ForcedLevel&) = delete;
  ForcedLevel& operator=(const ForcedLevel&) = delete;
};

}  // namespace lapidary::testing
