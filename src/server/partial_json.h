// The arguments of a call whose answer was cut off.
#pragma once

#include <string_view>

#include "base/json.h"

namespace lapidary::server {

// fragment: the beginning of the JSON text of an object. The object with all that is complete in it: a key without its
// value, and a value that stops in the middle, are left out, as the clients' own readers of streamed arguments do; an
// open object or array keeps what it has. An empty object where there is nothing.
Json complete_part(std::string_view fragment);

}  // namespace lapidary::server
