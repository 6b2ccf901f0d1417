// Numbers between bounds as automata over their decimal digits. Exact: bounds are digits too, no float is involved.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "grammar/dfa.h"

namespace lapidary {

struct NumberBound {
  bool negative = false;
  std::string whole = "0", fraction;  // digits; no leading zeros but "0" itself, no trailing zeros in fraction
  bool inclusive = true;

  bool zero() const { return whole == "0" && fraction.empty(); }
};

// The digits of a JSON number. Empty for what is no finite number.
std::optional<NumberBound> number_bound(const Json& number, bool inclusive);

// Whether a lies below b as a number: <0, 0, >0. Inclusiveness does not count.
int compare(const NumberBound& a, const NumberBound& b);

// JSON numbers between the bounds (absent: none).
// Integers: digits only, at most 30 of them where a bound does not say more; no -0.
// Others without bounds: up to 20 digits before and after the point, exponents from -279 to 279, so that a double holds
// the value. With a bound: no exponent, and at most 15 significant digits beside the bound's own whole digits, so that
// rounding to a double cannot carry a value across the bound.
Nfa number_range(const std::optional<NumberBound>& low, const std::optional<NumberBound>& high, bool integers);

// Integers that divisor divides, 1 <= divisor <= kDivisorMax, as text with or without a minus sign.
inline constexpr int64_t kDivisorMax = 10'000;
Dfa multiples_of(int64_t divisor);

}  // namespace lapidary
