#include "media/video_index.h"

#include <fmt/format.h>

#include <algorithm>

namespace lapidary {
namespace {

constexpr int64_t kTimesMax = 4'000'000;  // of a longer video only the frames are counted

// A packet that will become a picture of its own.
bool shows_a_frame(const AVPacket& packet, const AVCodecParameters& codec) {
  if ((packet.flags & AV_PKT_FLAG_DISCARD) != 0 || packet.size == 0) return false;
  // Bit 4 of a VP8 frame's tag says whether it is shown; alternate references are not (RFC 6386, section 9.1).
  return codec.codec_id != AV_CODEC_ID_VP8 || (packet.data[0] & 0x10) != 0;
}

}  // namespace

int64_t VideoIndex::entry_before(int64_t time) const {
  const auto after = std::upper_bound(entries.begin(), entries.end(), time,
                                      [](int64_t wanted, const Entry& entry) { return wanted < entry.time; });
  return after == entries.begin() ? 0 : (after - 1)->number;
}

Result<VideoIndex> index_video(AvSource& source, const AVStream& stream) {
  AvPacket packet(av_packet_alloc());
  if (packet == nullptr) return Error{ErrorCode::kExhausted, fmt::format("{}: no memory for a packet", source.name())};
  VideoIndex index;
  bool timed = true;
  for (int64_t number = 0; av_read_frame(source.format(), packet.get()) >= 0; av_packet_unref(packet.get())) {
    if (source.watch().late()) break;
    if (packet->stream_index != stream.index) continue;
    const int64_t this_number = number++;
    if (!shows_a_frame(*packet, *stream.codecpar)) continue;
    ++index.frames;
    timed = timed && packet->pts != AV_NOPTS_VALUE && index.frames <= kTimesMax;
    if (!timed) continue;
    index.times.push_back(packet->pts);
    const bool key = (packet->flags & AV_PKT_FLAG_KEY) != 0;
    if (key && (index.entries.empty() || packet->pts > index.entries.back().time)) {
      index.entries.push_back({packet->pts, this_number});
    }
  }
  if (source.watch().late()) return source.watch().late_error(source.name());
  std::sort(index.times.begin(), index.times.end());
  // Two frames at one time cannot be told apart.
  if (!timed || std::adjacent_find(index.times.begin(), index.times.end()) != index.times.end()) {
    index.times.clear();
    index.entries.clear();
  }
  return index;
}

}  // namespace lapidary
