// Where a prompt may be cut. A picture whose tokens see each other enters in one piece: its first token's attention
// needs the K and V of its last.
#pragma once

#include <cstdint>
#include <span>

namespace lapidary {

// Positions [begin, end) that enter in one piece.
struct Block {
  int32_t begin = 0, end = 0;
};

// The end of the piece that starts at `begin`: begin + rows_wanted, moved so that it does not lie inside a block; at
// least one token, or one whole block. blocks in order.
int32_t piece_end(std::span<const Block> blocks, int32_t begin, int32_t prompt_tokens, int32_t rows_wanted);

}  // namespace lapidary
