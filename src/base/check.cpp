#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace lapidary {

void check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "lapidary: bug: %s:%d: CHECK(%s) failed; please report it\n", file, line, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace lapidary
