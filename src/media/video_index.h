// What the packets of a video say without being decoded: how many frames there are, when each is shown, and where
// decoding can begin. Private to the room.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "media/av_source.h"

namespace lapidary {

struct VideoIndex {
  // A packet that needs none before it; number counts the stream's packets in the order of the file.
  struct Entry {
    int64_t time, number;
  };

  int64_t frames = 0;          // packets that are shown
  std::vector<int64_t> times;  // [frames] in presentation order, in the stream's units; empty when not all are known
  std::vector<Entry> entries;  // both fields ascending

  // Number of the last entry that is shown at this time or before; 0 when there is none.
  int64_t entry_before(int64_t time) const;
};

// Reads the stream to its end. Errors: kExhausted, also when the source's time is up.
Result<VideoIndex> index_video(AvSource& source, const AVStream& stream);

}  // namespace lapidary
