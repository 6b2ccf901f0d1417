// The arithmetic limit of a level: multiply-adds on registers alone.
#pragma once

#include <string_view>

namespace lapidary {

// f32 operations per second (a multiply-add counts two) of one thread on the level called `name`, over about 10 ms.
double fma_peak(std::string_view name);
// The same for products of bf16 pairs (a pair counts four); 0 where the level has none.
double bf16_pairs_peak(std::string_view name);

}  // namespace lapidary
