#include "media/av_source.h"

extern "C" {
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
}

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/limits.h"

namespace lapidary {
namespace {

constexpr int kIoBufferBytes = 64 << 10;
constexpr int64_t kProbeBytesMax = 8 << 20;
constexpr int kStreamsMax = 64;
// A hostile index can make a demuxer read the same bytes again and again; honest files are read about twice.
constexpr int64_t kReadsOfWholeFileMax = 16;
constexpr int64_t kReadBytesFree = 64 << 20;
constexpr int kErrorsMax = 100'000;  // damaged packets of one stream

// Sound and video files that people have. Playlists and formats that name other files are not among them.
constexpr const char* kContainers =
    "wav,w64,mp3,flac,ogg,mov,mp4,m4a,3gp,3g2,mj2,aac,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,"
    "ivf,"
    "aiff,au,caf,amr,flv,asf,gif,ac3,eac3,wv,tta,yuv4mpegpipe";

constexpr AVCodecID kCodecs[] = {
    // sound
    AV_CODEC_ID_MP1,
    AV_CODEC_ID_MP2,
    AV_CODEC_ID_MP3,
    AV_CODEC_ID_AAC,
    AV_CODEC_ID_AAC_LATM,
    AV_CODEC_ID_AC3,
    AV_CODEC_ID_EAC3,
    AV_CODEC_ID_FLAC,
    AV_CODEC_ID_ALAC,
    AV_CODEC_ID_VORBIS,
    AV_CODEC_ID_OPUS,
    AV_CODEC_ID_WAVPACK,
    AV_CODEC_ID_TTA,
    AV_CODEC_ID_AMR_NB,
    AV_CODEC_ID_AMR_WB,
    AV_CODEC_ID_WMAV1,
    AV_CODEC_ID_WMAV2,
    AV_CODEC_ID_ADPCM_IMA_WAV,
    AV_CODEC_ID_ADPCM_MS,
    AV_CODEC_ID_GSM_MS,
    AV_CODEC_ID_SPEEX,
    // pictures
    AV_CODEC_ID_H263,
    AV_CODEC_ID_H264,
    AV_CODEC_ID_HEVC,
    AV_CODEC_ID_MPEG1VIDEO,
    AV_CODEC_ID_MPEG2VIDEO,
    AV_CODEC_ID_MPEG4,
    AV_CODEC_ID_MSMPEG4V3,
    AV_CODEC_ID_VP8,
    AV_CODEC_ID_VP9,
    AV_CODEC_ID_AV1,
    AV_CODEC_ID_THEORA,
    AV_CODEC_ID_MJPEG,
    AV_CODEC_ID_PRORES,
    AV_CODEC_ID_DNXHD,
    AV_CODEC_ID_DVVIDEO,
    AV_CODEC_ID_FFV1,
    AV_CODEC_ID_HUFFYUV,
    AV_CODEC_ID_FFVHUFF,
    AV_CODEC_ID_UTVIDEO,
    AV_CODEC_ID_RAWVIDEO,
    AV_CODEC_ID_GIF,
    AV_CODEC_ID_FLV1,
    AV_CODEC_ID_WMV1,
    AV_CODEC_ID_WMV2,
    AV_CODEC_ID_WMV3,
    AV_CODEC_ID_VC1,
    AV_CODEC_ID_PNG,
};

bool permitted(AVCodecID codec) {
  const bool pcm = codec >= AV_CODEC_ID_PCM_S16LE && codec < AV_CODEC_ID_ADPCM_IMA_QT;
  return pcm || std::find(std::begin(kCodecs), std::end(kCodecs), codec) != std::end(kCodecs);
}

// libav wants the decoders' names in one string, for the decoders it opens while it probes.
std::string permitted_decoders() {
  std::string names;
  void* walk = nullptr;
  while (const AVCodec* codec = av_codec_iterate(&walk)) {
    if (av_codec_is_decoder(codec) == 0 || !permitted(codec->id)) continue;
    if (!names.empty()) names += ',';
    names += codec->name;
  }
  return names;
}

const std::string& prepare_libav() {
  static const std::string decoders = [] {
    av_log_set_level(AV_LOG_QUIET);  // errors come back as values; stderr belongs to the program
    return permitted_decoders();
  }();
  return decoders;
}

// Asked by libav while it probes, seeks and waits.
int is_late(void* watch) { return static_cast<const DecodeWatch*>(watch)->late() ? 1 : 0; }

int refuse_other_files(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) { return AVERROR(EPERM); }

}  // namespace

std::string av_error_text(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof(text));
  return text;
}

struct AvSource::Reader {
  std::span<const std::byte> bytes;
  int64_t position = 0;
  int64_t read_bytes_left = 0;
  const DecodeWatch* watch = nullptr;

  static int read(void* self, uint8_t* out, int count) {
    auto& reader = *static_cast<Reader*>(self);
    const int64_t left = std::ssize(reader.bytes) - reader.position;
    if (left <= 0) return AVERROR_EOF;
    const int64_t take = std::min<int64_t>(left, count);
    if (take > reader.read_bytes_left || reader.watch->late()) return AVERROR_EXIT;
    reader.read_bytes_left -= take;
    std::memcpy(out, reader.bytes.data() + reader.position, static_cast<size_t>(take));
    reader.position += take;
    return static_cast<int>(take);
  }

  static int64_t seek(void* self, int64_t offset, int whence) {
    auto& reader = *static_cast<Reader*>(self);
    const int64_t size = std::ssize(reader.bytes);
    int64_t base = 0;
    switch (whence & ~AVSEEK_FORCE) {
      case AVSEEK_SIZE:
        return size;
      case SEEK_SET:
        break;
      case SEEK_CUR:
        base = reader.position;
        break;
      case SEEK_END:
        base = size;
        break;
      default:
        return AVERROR(EINVAL);
    }
    if (offset < -base || offset > size - base) return AVERROR(EINVAL);
    reader.position = base + offset;
    return reader.position;
  }
};

AvSource::AvSource() = default;

AvSource::AvSource(AvSource&& other) noexcept { *this = std::move(other); }

AvSource& AvSource::operator=(AvSource&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(watch_, other.watch_);
  std::swap(reader_, other.reader_);
  std::swap(io_, other.io_);
  std::swap(format_, other.format_);
  return *this;
}

AvSource::~AvSource() {
  avformat_close_input(&format_);
  if (io_ != nullptr) av_freep(&io_->buffer);
  avio_context_free(&io_);
}

Result<AvSource> AvSource::open(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch) {
  const std::string& decoders = prepare_libav();
  AvSource source;
  source.name_ = name;
  source.watch_ = &watch;
  if (bytes.empty()) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("{}: expected sound or video, found an empty file", name)};
  }
  const Error exhausted{ErrorCode::kExhausted, fmt::format("{}: no memory to read the file", name)};
  source.reader_ = std::make_unique<Reader>();
  source.reader_->bytes = bytes;
  source.reader_->watch = &watch;
  source.reader_->read_bytes_left = kReadBytesFree + kReadsOfWholeFileMax * std::ssize(bytes);
  auto* buffer = static_cast<unsigned char*>(av_malloc(kIoBufferBytes));
  if (buffer == nullptr) return exhausted;
  source.io_ = avio_alloc_context(buffer, kIoBufferBytes, 0, source.reader_.get(), Reader::read, nullptr, Reader::seek);
  if (source.io_ == nullptr) {
    av_free(buffer);
    return exhausted;
  }
  AVFormatContext* format = avformat_alloc_context();
  if (format == nullptr) return exhausted;
  format->pb = source.io_;
  format->flags |= AVFMT_FLAG_CUSTOM_IO;
  format->io_open = refuse_other_files;
  format->interrupt_callback = {is_late, const_cast<DecodeWatch*>(&watch)};
  format->probesize = kProbeBytesMax;
  format->max_streams = kStreamsMax;
  format->format_whitelist = av_strdup(kContainers);
  format->codec_whitelist = av_strdup(decoders.c_str());
  format->protocol_whitelist = av_strdup("");
  // Frees the context when it fails.
  if (const int code = avformat_open_input(&format, nullptr, nullptr, nullptr); code < 0) {
    if (watch.late()) return watch.late_error(name);
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: expected sound or video in a known container, found {} bytes of something else ({})",
                             name, bytes.size(), av_error_text(code))};
  }
  source.format_ = format;
  // The probing decoders must not take memory for giant pictures either.
  const std::string pixels_max = std::to_string(kLimits.image_pixels_max);
  std::vector<AVDictionary*> options(format->nb_streams, nullptr);
  for (AVDictionary*& option : options) av_dict_set(&option, "max_pixels", pixels_max.c_str(), 0);
  const int code = avformat_find_stream_info(format, options.empty() ? nullptr : options.data());
  for (AVDictionary*& option : options) av_dict_free(&option);
  if (watch.late()) return watch.late_error(name);
  if (code < 0) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: damaged {} file of {} bytes: {}", name,
                                                      format->iformat->name, bytes.size(), av_error_text(code))};
  }
  return source;
}

Result<AVStream*> AvSource::select_stream(AVMediaType type) {
  const int index = av_find_best_stream(format_, type, -1, -1, nullptr, 0);
  // The cover picture of a song is a video stream to libav.
  if (index < 0 || (format_->streams[index]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: expected a file with {}, found none in this {} file", name_,
                             type == AVMEDIA_TYPE_AUDIO ? "sound" : "moving pictures", format_->iformat->name)};
  }
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    format_->streams[i]->discard = static_cast<int>(i) == index ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  }
  return format_->streams[index];
}

Result<AvDecoder> AvSource::open_decoder(const AVStream& stream, int threads) const {
  const AVCodecParameters& parameters = *stream.codecpar;
  const AVCodec* codec = permitted(parameters.codec_id) ? avcodec_find_decoder(parameters.codec_id) : nullptr;
  if (codec == nullptr) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: no decoder for codec {}", name_, avcodec_get_name(parameters.codec_id))};
  }
  AvDecoder decoder(avcodec_alloc_context3(codec));
  if (decoder == nullptr) return Error{ErrorCode::kExhausted, fmt::format("{}: no memory for a decoder", name_)};
  int code = avcodec_parameters_to_context(decoder.get(), &parameters);
  decoder->pkt_timebase = stream.time_base;
  decoder->thread_count = threads;
  decoder->max_pixels = kLimits.image_pixels_max;
  if (code >= 0) code = avcodec_open2(decoder.get(), codec, nullptr);
  if (code < 0) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: damaged {} stream: {}", name_, codec->name, av_error_text(code))};
  }
  return decoder;
}

AvFrames::AvFrames(AvSource& source, AVCodecContext& decoder, int stream_index)
    : source_(&source),
      decoder_(&decoder),
      stream_index_(stream_index),
      packet_(av_packet_alloc()),
      frame_(av_frame_alloc()) {
  if (packet_ == nullptr || frame_ == nullptr) ended_ = true;
}

AVFrame* AvFrames::next() {
  if (packet_ == nullptr || frame_ == nullptr) return nullptr;
  while (!source_->watch().late()) {
    const int code = avcodec_receive_frame(decoder_, frame_.get());
    if (code >= 0) return frame_.get();
    if (code == AVERROR(EAGAIN)) {
      if (!feed()) return nullptr;
      continue;
    }
    if (code == AVERROR_EOF) return nullptr;
    last_error_ = code;  // of the packet it has swallowed; the next one may be whole
    if (++errors_ > kErrorsMax) return nullptr;
  }
  return nullptr;
}

bool AvFrames::read() {
  while (!source_->watch().late()) {
    av_packet_unref(packet_.get());
    const int code = av_read_frame(source_->format(), packet_.get());
    if (code < 0) {
      if (code != AVERROR_EOF) last_error_ = code;
      return false;
    }
    if (packet_->stream_index != stream_index_) continue;
    ++packets_read_;
    return true;
  }
  return false;
}

bool AvFrames::feed() {
  if (ended_) return false;
  if (!read()) {
    ended_ = true;
    avcodec_send_packet(decoder_, nullptr);
    return true;
  }
  const int sent = avcodec_send_packet(decoder_, packet_.get());
  if (sent < 0 && sent != AVERROR(EAGAIN)) last_error_ = sent;
  return true;
}

void AvFrames::skip_to(int64_t packets) {
  if (packet_ == nullptr || ended_) return;
  while (packets_read_ < packets && read()) continue;
  avcodec_flush_buffers(decoder_);
}

}  // namespace lapidary
