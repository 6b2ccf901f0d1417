#include "http/allow_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "http/text.h"

namespace lapidary {
namespace {

constexpr size_t kHostBytesMax = 253;

bool host_name(std::string_view text) {
  if (text.empty() || text.size() > kHostBytesMax || text.front() == '.' || text.back() == '.') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

}  // namespace

Result<AllowList::Rule> AllowList::parse_rule(std::string_view entry) {
  const Error wrong{ErrorCode::kInvalidArgument,
                    fmt::format("allowed host {}: expected HOST, *.HOST, an address or *, and perhaps :PORT", entry)};
  Rule rule;
  std::string text(entry);
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if ((rule.address = parse_ip_address(text))) return rule;  // an IPv6 address without brackets, too
  size_t colon = text.rfind(':');
  if (colon != std::string::npos && text.back() != ']') {
    const char* end = text.data() + text.size();
    const auto [stop, problem] = std::from_chars(text.data() + colon + 1, end, rule.port);
    if (problem != std::errc() || stop != end || rule.port == 0) return wrong;
    text.resize(colon);
  }
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    rule.address = parse_ip_address(text.substr(1, text.size() - 2));
    if (!rule.address || !rule.address->six) return wrong;
    return rule;
  }
  if (text == "*") {
    rule.any = true;
    return rule;
  }
  if ((rule.address = parse_ip_address(text))) return rule;
  rule.below = text.rfind("*.", 0) == 0;
  if (rule.below) text.erase(0, 2);
  if (!text.empty() && text.back() == '.') text.pop_back();
  if (!host_name(text)) return wrong;
  rule.host = rule.below ? "." + text : text;
  return rule;
}

Result<AllowList> AllowList::parse(const std::vector<std::string>& entries) {
  AllowList list;
  for (const std::string& entry : entries) {
    ASSIGN_OR_RETURN(Rule rule, parse_rule(entry));
    list.rules_.push_back(std::move(rule));
  }
  return list;
}

AllowList::Match AllowList::match(std::string_view host, uint16_t port, uint16_t default_port) const {
  const std::optional<IpAddress> address = parse_ip_address(host);
  Match best = Match::kNone;
  for (const Rule& rule : rules_) {
    if ((rule.port == 0 ? default_port : rule.port) != port) continue;
    if (rule.address ? rule.address == address : !rule.any && !rule.below && rule.host == host) return Match::kExact;
    const bool below =
        rule.below && host.size() > rule.host.size() && host.substr(host.size() - rule.host.size()) == rule.host;
    if (rule.any || (below && !address)) best = Match::kPattern;
  }
  return best;
}

bool AllowList::lists(const IpAddress& address, uint16_t port, uint16_t default_port) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) {
    return rule.address == address && (rule.port == 0 ? default_port : rule.port) == port;
  });
}

}  // namespace lapidary
