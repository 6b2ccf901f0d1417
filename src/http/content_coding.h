// Content-Encoding of request bodies, undone: gzip, deflate, zstd, and several of them in a row.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/body_budget.h"

namespace lapidary {

struct ContentLimits {
  int64_t bytes_max = 256LL << 20;  // of what comes out, in each step
  int64_t ratio_max = 200;          // of what comes out to what was sent, once it is more than ratio_free_bytes
  int64_t ratio_free_bytes = 1 << 20;
  int zstd_window_log_max = 23;  // 8 MiB: what a decoder must hold
  int codings_max = 4;
  BodyShare* share = nullptr;  // grows by what comes out of each step, before its memory is taken
};

// codings: the value of Content-Encoding, in the order of application; none, empty and "identity" leave the body as it
// is. Errors: kUnsupported for a coding that is not known (415), kExhausted beyond a limit (413; 503 when it is the
// share that was refused), found before the memory is taken, kInvalidArgument for damaged bytes (400).
Result<std::string> decode_content(std::string_view codings, std::string_view body, const ContentLimits& limits = {});

}  // namespace lapidary
