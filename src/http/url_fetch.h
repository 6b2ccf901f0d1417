// The one gate for everything that is fetched on behalf of a request. Off unless hosts are listed; an address is looked
// up once, judged, and is the only one that is connected to.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/ip_address.h"

namespace lapidary {

struct FetchPolicy {
  // HOST, *.HOST (any name below it), an IP address, or * (any host); each may end with :PORT, else the scheme's port
  // is meant. Addresses that is_blocked_address() names are refused unless that very name or address is listed.
  std::vector<std::string> allow;
  int32_t connect_seconds = 5, total_seconds = 30, redirects_max = 3;
  int32_t parallel_max = 32;  // more wait
  // Addresses of a name; absent: the system's resolver. Called on a thread of its own, once for each hop.
  std::function<Result<std::vector<IpAddress>>(const std::string& host)> resolve;
};

struct FetchedBody {
  std::string bytes;
  std::string content_type;  // as the server calls it
};

class UrlFetcher {
 public:
  // Errors: kInvalidArgument for an entry of `allow` that is none.
  static Result<std::unique_ptr<UrlFetcher>> make(FetchPolicy policy);
  ~UrlFetcher();

  // Blocks until the body is here, `cancelled` is set or time is up; any thread. Errors: kUnsupported for what may not
  // be fetched, kNotFound for what could not be, kExhausted beyond bytes_max, kCancelled. Messages name the URL's host
  // and nothing else of it.
  Result<FetchedBody> fetch(std::string_view url, int64_t bytes_max, const std::atomic<bool>& cancelled) const;

 private:
  struct Impl;
  explicit UrlFetcher(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary
