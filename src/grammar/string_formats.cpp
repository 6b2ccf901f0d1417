#include "grammar/string_formats.h"

#include <map>
#include <string>

namespace lapidary {
namespace {

// RFC 3339, section 5.6. February 29 only in leap years; no leap seconds, which few readers take.
// The year 0000 is left out: Python has none.
const std::string kDate =
    "(?:(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0["
    "469]|11)-(?:0[1-9]|[12][0-9]|30)|"
    "02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-"
    "29)";
const std::string kTime =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
const std::string kLabel = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const std::string kByte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const std::string kIpv4 = "(?:" + kByte + "\\.){3}" + kByte;
const std::string kH16 = "[0-9A-Fa-f]{1,4}";

// RFC 4291, section 2.2: eight groups, one run of them left out, the last two perhaps as an IPv4 address.
std::string ipv6() {
  std::string pattern = "(?:" + kH16 + ":){7}" + kH16 + "|(?:" + kH16 + ":){6}" + kIpv4 + "|::|::" + kIpv4;
  for (int before = 0; before <= 7; ++before) {
    const std::string front = before == 0 ? "::" : kH16 + "(?::" + kH16 + "){" + std::to_string(before - 1) + "}::";
    if (before > 0) pattern += "|" + front;
    if (const int room = 7 - before; room > 0) {
      pattern += "|" + front + kH16 + "(?::" + kH16 + "){0," + std::to_string(room - 1) + "}";
      if (room > 2) pattern += "|" + front + "(?:" + kH16 + ":){0," + std::to_string(room - 2) + "}" + kIpv4;
    }
  }
  return pattern;
}

std::map<std::string_view, std::string> make_patterns() {
  const std::string word = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";  // an atom of RFC 5322
  return {
      {"date", kDate},
      {"time", kTime},
      {"date-time", kDate + "T" + kTime},
      // RFC 3339, appendix A.
      {"duration",
       "P(?:[0-9]{1,9}W|(?:[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)"
       "(?:T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S))?|"
       "T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S))"},
      {"email", word + "(?:\\." + word + ")*@" + kLabel + "(?:\\." + kLabel + ")*"},
      {"hostname", kLabel + "(?:\\." + kLabel + ")*"},
      {"ipv4", kIpv4},
      {"ipv6", ipv6()},
      {"uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"},
      // RFC 3986, without the details of the authority.
      {"uri",
       "[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
       "(?:#(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)?"},
  };
}

}  // namespace

std::string_view format_pattern(std::string_view format) {
  static const std::map<std::string_view, std::string> patterns = make_patterns();
  const auto it = patterns.find(format);
  return it == patterns.end() ? std::string_view() : std::string_view(it->second);
}

}  // namespace lapidary
