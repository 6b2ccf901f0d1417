// Where a prompt may be cut. A picture whose tokens see each other enters in one piece: its first token's attention
// needs the K and V of its last.
#pragma once

#include <cstdint>
#include <span>

#include "engine/request.h"

namespace lapidary {

// The end of the piece that starts at `begin`: begin + rows_wanted, moved so that it does not lie inside a picture or
// frame; at least one token, or one whole picture. media in prompt order.
int32_t piece_end(std::span<const MediaSpan> media, bool whole_pictures, int32_t begin, int32_t prompt_tokens,
                  int32_t rows_wanted);

}  // namespace lapidary
