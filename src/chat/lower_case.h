// Lower case for sorting keys, and white space for trimming, as Python has them.
#pragma once

#include <string>
#include <string_view>

namespace lapidary {

// Python's str.lower() (Unicode 14), except that a capital sigma at the end of a word becomes an ordinary sigma.
// text is valid UTF-8; bytes that are not stay as they are.
std::string lower_case(std::string_view text);

// ASCII letters only: names of JSON types.
std::string upper_case_ascii(std::string_view text);

// Python's str.strip(): Unicode white space, with U+001C to U+001F.
std::string_view strip(std::string_view text);

}  // namespace lapidary
