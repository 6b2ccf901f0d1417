// libavformat and libavcodec over a file held in memory: opening, the choice of a stream, reading packets, decoding.
// Private to the room; audio_file and video_file say what they want from it.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "media/decode_watch.h"

namespace lapidary {

struct AvDeleter {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVCodecContext* decoder) const { avcodec_free_context(&decoder); }
};
using AvPacket = std::unique_ptr<AVPacket, AvDeleter>;
using AvFrame = std::unique_ptr<AVFrame, AvDeleter>;
using AvDecoder = std::unique_ptr<AVCodecContext, AvDeleter>;

// libav's words for one of its error codes.
std::string av_error_text(int code);

// An opened container. It reads from memory only: no other file and no network can be reached through it. Containers
// and codecs outside a list of common ones are refused, as are files that make the reader seek without end.
class AvSource {
 public:
  // bytes and watch must outlive the source; name stands for them in messages. When time is up, reading ends. Errors:
  // kUnsupported for what is no known container, kCorruptFile for a damaged one, kExhausted when time is up.
  static Result<AvSource> open(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch);

  AvSource(AvSource&&) noexcept;
  AvSource& operator=(AvSource&&) noexcept;
  ~AvSource();

  const std::string& name() const { return name_; }
  AVFormatContext* format() const { return format_; }
  const DecodeWatch& watch() const { return *watch_; }

  // The main stream of a type, all others being dropped from then on. Errors: kUnsupported when there is none.
  Result<AVStream*> select_stream(AVMediaType type);

  // Errors: kUnsupported without a permitted decoder, kCorruptFile when it refuses the stream's parameters.
  Result<AvDecoder> open_decoder(const AVStream& stream, int threads) const;

 private:
  struct Reader;
  AvSource();

  std::string name_;
  const DecodeWatch* watch_ = nullptr;
  std::unique_ptr<Reader> reader_;
  AVIOContext* io_ = nullptr;
  AVFormatContext* format_ = nullptr;
};

// Walks the decoded frames of one stream, in presentation order. Damaged packets are passed over.
class AvFrames {
 public:
  // Both must outlive this.
  AvFrames(AvSource& source, AVCodecContext& decoder, int stream_index);

  // The next frame, valid until the next call; nullptr at the end, and when the source's time is up.
  AVFrame* next();

  // Packets of the stream read so far.
  int64_t packets_read() const { return packets_read_; }

  // Passes over packets of the stream until so many have been read, and forgets what the decoder holds. The next packet
  // should be one that decoding can begin with.
  void skip_to(int64_t packets);

  // libav's last complaint about a packet, 0 when there was none.
  int last_error() const { return last_error_; }

 private:
  bool read();  // the stream's next packet into packet_; false at the end
  bool feed();  // hands the decoder one more packet, or the end; false when nothing is left to hand over

  AvSource* source_;
  AVCodecContext* decoder_;
  int stream_index_;
  AvPacket packet_;
  AvFrame frame_;
  int64_t packets_read_ = 0;
  bool ended_ = false;
  int last_error_ = 0, errors_ = 0;
};

}  // namespace lapidary
