// Which hosts may be fetched from: the list that --allow-url makes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/ip_address.h"

namespace lapidary {

class AllowList {
 public:
  // Entries as in FetchPolicy::allow. Errors: kInvalidArgument.
  static Result<AllowList> parse(const std::vector<std::string>& entries);

  enum class Match : uint8_t {
    kNone,
    kPattern,  // by *.HOST or *: public addresses only
    kExact,    // by its own name: whatever its address is
  };
  // host: in lower case, without a dot at the end and without brackets.
  Match match(std::string_view host, uint16_t port, uint16_t default_port) const;
  // An address that is listed itself.
  bool lists(const IpAddress& address, uint16_t port, uint16_t default_port) const;

 private:
  struct Rule {
    std::string host;  // of *.HOST with the dot; empty with `any`
    std::optional<IpAddress> address;
    uint16_t port = 0;  // 0: the scheme's
    bool below = false, any = false;
  };
  static Result<Rule> parse_rule(std::string_view entry);

  std::vector<Rule> rules_;
};

}  // namespace lapidary
