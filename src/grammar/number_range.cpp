#include "grammar/number_range.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <tuple>

#include "base/check.h"

namespace lapidary {
namespace {

constexpr size_t kIntegerDigits = 30;
constexpr size_t kSignificantDigits = 15;

// Non-negative numbers between two magnitudes, from state `from` on; complete numbers end in accepting states.
class MagnitudeWriter {
 public:
  MagnitudeWriter(Nfa& nfa, const NumberBound& low, const std::optional<NumberBound>& high, bool integers)
      : nfa_(nfa), low_(low), high_(high), integers_(integers) {
    const size_t whole = std::max(low.whole.size(), high ? high->whole.size() : 1);
    fraction_digits_ = integers ? 0 : kSignificantDigits - std::min(kSignificantDigits - 1, whole);
    whole_digits_ = high ? high->whole.size() : std::max(kIntegerDigits, low.whole.size());
  }

  void write(uint32_t from) {
    for (size_t digits = low_.whole.size(); digits <= whole_digits_; ++digits) {
      const bool tight_low = digits == low_.whole.size(), tight_high = high_ && digits == high_->whole.size();
      whole(from, 0, digits, tight_low, tight_high);
    }
  }

 private:
  // Position `at` of a whole part of `digits` digits; tight: equal to the bound so far.
  void whole(uint32_t from, size_t at, size_t digits, bool tight_low, bool tight_high) {
    if (!tight_low && !tight_high) {
      free_digits(from, at, digits);
      return;
    }
    if (at == digits) return end_of_whole(from, tight_low, tight_high);
    const int least = at == 0 && digits > 1 ? 1 : 0;
    for (int digit = least; digit <= 9; ++digit) {
      const int bottom = tight_low ? low_.whole[at] - '0' : 0, top = tight_high ? high_->whole[at] - '0' : 9;
      if (digit < bottom || digit > top) continue;
      const uint32_t next = nfa_.add();
      nfa_.edge(from, '0' + digit, '0' + digit, next);
      whole(next, at + 1, digits, tight_low && digit == bottom, tight_high && digit == top);
    }
  }

  // Any digits to fill up the whole part, shared by all that come here with as many to go.
  void free_digits(uint32_t from, size_t at, size_t digits) {
    if (at == 0 && digits > 1) {
      const uint32_t first = nfa_.add();
      nfa_.edge(from, '1', '9', first);
      nfa_.empty(first, free_state(digits - 1));
    } else {
      nfa_.empty(from, free_state(digits - at));
    }
  }
  uint32_t free_state(size_t to_go) {
    while (free_.size() <= to_go) {
      const uint32_t state = nfa_.add();
      if (free_.empty()) {
        end_of_whole(state, false, false);
      } else {
        nfa_.edge(state, '0', '9', free_.back());
      }
      free_.push_back(state);
    }
    return free_[to_go];
  }

  void end_of_whole(uint32_t from, bool tight_low, bool tight_high) {
    if (fits(0, tight_low, tight_high)) nfa_.accept(from);
    if (fraction_digits_ == 0) return;
    const uint32_t point = nfa_.add();
    nfa_.edge(from, '.', '.', point);
    nfa_.empty(point, fraction(0, tight_low, tight_high));
  }

  static int digit_of(const NumberBound& bound, size_t at) {
    return at < bound.fraction.size() ? bound.fraction[at] - '0' : 0;
  }
  // Whether a number may end after `at` digits of the fraction.
  bool fits(size_t at, bool tight_low, bool tight_high) const {
    const auto rest_is_zero = [&](const NumberBound& bound) { return bound.fraction.size() <= at; };
    if (tight_low && !(rest_is_zero(low_) && low_.inclusive)) return false;
    return !tight_high || !rest_is_zero(*high_) || high_->inclusive;
  }
  // The state after `at` digits of the fraction.
  uint32_t fraction(size_t at, bool tight_low, bool tight_high) {
    const auto [it, added] = fraction_.try_emplace(std::tuple(at, tight_low, tight_high), 0);
    if (!added) return it->second;
    const uint32_t state = nfa_.add();
    it->second = state;
    if (at > 0 && fits(at, tight_low, tight_high)) nfa_.accept(state);
    if (at == fraction_digits_) return state;
    const int bottom = tight_low ? digit_of(low_, at) : 0, top = tight_high ? digit_of(*high_, at) : 9;
    for (int digit = bottom; digit <= top; ++digit) {
      const uint32_t next = fraction(at + 1, tight_low && digit == bottom, tight_high && digit == top);
      nfa_.edge(state, '0' + digit, '0' + digit, next);
    }
    return state;
  }

  Nfa& nfa_;
  NumberBound low_;
  std::optional<NumberBound> high_;
  bool integers_;
  size_t fraction_digits_ = 0, whole_digits_ = 0;
  std::vector<uint32_t> free_;
  std::map<std::tuple<size_t, bool, bool>, uint32_t> fraction_;
};

int compare_magnitudes(const NumberBound& a, const NumberBound& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int whole = a.whole.compare(b.whole); whole != 0) return whole;
  return a.fraction.compare(b.fraction);
}

NumberBound magnitude(NumberBound bound) {
  bound.negative = false;
  return bound;
}

// -?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2} or up to 279)?
Nfa any_number() {
  Nfa nfa;
  const uint32_t sign = nfa.add();
  nfa.edge(0, '-', '-', sign);
  nfa.empty(0, sign);
  const uint32_t whole = nfa.add();
  nfa.edge(sign, '0', '0', whole);
  uint32_t digit = nfa.add();
  nfa.edge(sign, '1', '9', digit);
  nfa.empty(digit, whole);
  for (int i = 1; i < 20; ++i) {
    const uint32_t next = nfa.add();
    nfa.edge(digit, '0', '9', next);
    nfa.empty(next, whole);
    digit = next;
  }
  const uint32_t mantissa = nfa.add();
  nfa.empty(whole, mantissa);
  digit = nfa.add();
  nfa.edge(whole, '.', '.', digit);
  for (int i = 0; i < 20; ++i) {
    const uint32_t next = nfa.add();
    nfa.edge(digit, '0', '9', next);
    nfa.empty(next, mantissa);
    digit = next;
  }
  nfa.accept(mantissa);
  const uint32_t e = nfa.add(), signed_e = nfa.add(), end = nfa.add();
  nfa.edge(mantissa, 'e', 'e', e);
  nfa.edge(mantissa, 'E', 'E', e);
  nfa.edge(e, '+', '+', signed_e);
  nfa.edge(e, '-', '-', signed_e);
  nfa.empty(e, signed_e);
  const uint32_t one = nfa.add(), two = nfa.add(), three = nfa.add(), last = nfa.add();
  nfa.edge(signed_e, '0', '9', one);  // one digit, or two
  nfa.empty(one, end);
  nfa.edge(one, '0', '9', end);
  nfa.edge(signed_e, '0', '1', two);  // 000 to 199
  nfa.edge(two, '0', '9', last);
  nfa.edge(signed_e, '2', '2', three);  // 200 to 279
  nfa.edge(three, '0', '7', last);
  nfa.edge(last, '0', '9', end);
  nfa.accept(end);
  return nfa;
}

}  // namespace

std::optional<NumberBound> number_bound(const Json& number, bool inclusive) {
  std::string text;
  if (number.is_number_float()) {
    const double value = number.get<double>();
    if (!std::isfinite(value)) return std::nullopt;
    char buffer[1100];  // the smallest denormal has 1,074 digits after the point
    text.assign(buffer, std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr);
  } else if (number.is_number()) {
    text = dump_json(number);
  } else {
    text = exact_integer(number);
  }
  if (text.empty()) return std::nullopt;
  NumberBound bound;
  bound.inclusive = inclusive;
  bound.negative = text[0] == '-';
  if (bound.negative) text.erase(0, 1);
  const size_t point = text.find('.');
  bound.whole = text.substr(0, point);
  if (point != std::string::npos) bound.fraction = text.substr(point + 1);
  bound.fraction.erase(bound.fraction.find_last_not_of('0') + 1);
  if (bound.zero()) bound.negative = false;
  return bound;
}

int compare(const NumberBound& a, const NumberBound& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

Nfa number_range(const std::optional<NumberBound>& low, const std::optional<NumberBound>& high, bool integers) {
  if (!low && !high && !integers) return any_number();
  Nfa nfa;
  const bool crossed = low && high && compare(*low, *high) > 0;
  if (crossed) return nfa;
  const NumberBound zero, above_zero{false, "0", "", false};
  if (!high || !high->negative) {  // zero and positive numbers
    const NumberBound bottom = low && !low->negative ? *low : zero;
    MagnitudeWriter(nfa, bottom, high, integers).write(0);
  }
  if (!low || low->negative) {  // negative numbers: magnitudes between those of high and low
    const uint32_t minus = nfa.add();
    nfa.edge(0, '-', '-', minus);
    const NumberBound bottom = high && high->negative ? magnitude(*high) : above_zero;
    std::optional<NumberBound> top;
    if (low) top = magnitude(*low);
    MagnitudeWriter(nfa, bottom, top, integers).write(minus);
  }
  return nfa;
}

Dfa multiples_of(int64_t divisor) {
  CHECK(divisor >= 1 && divisor <= kDivisorMax);
  // State 0: nothing read; 1: the sign read; 2 + r: remainder r.
  Dfa dfa;
  for (int64_t state = 0; state < 2 + divisor; ++state) {
    const int64_t remainder = std::max<int64_t>(state - 2, 0);
    if (state == 0) dfa.edges.push_back({'-', '-', 0, 1});
    for (int digit = 0; digit <= 9; ++digit) {
      const auto symbol = static_cast<uint16_t>('0' + digit);
      dfa.edges.push_back({symbol, symbol, 0, static_cast<uint32_t>(2 + (remainder * 10 + digit) % divisor)});
    }
    dfa.edge_begin.push_back(static_cast<uint32_t>(dfa.edges.size()));
    dfa.call_begin.push_back(0);
    dfa.accepting.push_back(state >= 2 && remainder == 0);
  }
  return dfa;
}

}  // namespace lapidary
