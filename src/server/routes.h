// Which path is answered by whom: one table, and how a request's target finds its row.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/target.h"
#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

struct Route {
  std::string_view method;   // "GET" answers HEAD as well
  std::string_view pattern;  // "/v1/models/{id...}": {x} one part of the path, {x...} all that follow
  Surface surface;
  void (*handle)(Service&, const Call&);
  bool is_public = false;  // needs no key
  bool is_early = false;   // answers while the model loads or the server drains
};

std::span<const Route> routes();

struct RouteMatch {
  const Route* route = nullptr;
  std::vector<std::string> parameters;  // decoded
  std::string allow;                    // when there is none: methods that the path has; empty: no such path
};

// A doubled /v1 counts once.
RouteMatch find_route(std::string_view method, const RequestTarget& target);

// Whose errors a path is answered with.
Surface surface_of(const RequestTarget& target);

}  // namespace lapidary::server
