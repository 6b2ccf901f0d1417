#include "http/content_coding.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "http/http.h"
#include "http/text.h"

namespace lapidary {
namespace {

constexpr size_t kPieceBytes = 64 << 10;
constexpr int kWindowBits = 15, kGzipBits = 16;  // zlib's: a window of 32 KiB; the format's number added

// What comes out of a decoder, piece by piece and never more than its bound.
class Output {
 public:
  Output(std::string_view coding, int64_t bytes_max, BodyShare& share)
      : coding_(coding), bytes_max_(bytes_max), share_(share) {}

  Result<void> append(size_t bytes) {
    if (static_cast<int64_t>(bytes_.size() + bytes) > bytes_max_) {
      return Error{ErrorCode::kExhausted,
                   fmt::format("the {} body expands to more than {} bytes", coding_, bytes_max_)};
    }
    if (!make_room(bytes_, bytes, static_cast<size_t>(bytes_max_), share_)) {
      return Error{ErrorCode::kExhausted,
                   fmt::format("there is no room now for what the {} body expands to beside the bodies of all requests",
                               coding_)};
    }
    bytes_.append(piece_.get(), bytes);
    return {};
  }
  Error damaged(std::string_view what) const {
    return {ErrorCode::kInvalidArgument, fmt::format("the {} body is damaged: {}", coding_, what)};
  }
  char* piece() { return piece_.get(); }
  std::string take() { return std::move(bytes_); }

 private:
  std::string_view coding_;
  int64_t bytes_max_;
  BodyShare& share_;
  std::unique_ptr<char[]> piece_ = std::make_unique<char[]>(kPieceBytes);
  std::string bytes_;
};

struct Inflater {
  z_stream stream{};
  explicit Inflater(int window_bits) { CHECK(inflateInit2(&stream, window_bits) == Z_OK); }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
};

// members: gzip files may stand one after another and count as one (RFC 1952 §2.2).
Result<void> inflate_all(std::string_view in, int window_bits, bool members, Output& out) {
  Inflater inflater(window_bits);
  z_stream& stream = inflater.stream;
  size_t fed = 0;
  for (;;) {
    if (stream.avail_in == 0 && fed < in.size()) {
      const size_t feed = std::min<size_t>(in.size() - fed, 1 << 30);  // zlib counts in 32 bits
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data() + fed));
      stream.avail_in = static_cast<uInt>(feed);
      fed += feed;
    }
    stream.next_out = reinterpret_cast<Bytef*>(out.piece());
    stream.avail_out = kPieceBytes;
    const int status = inflate(&stream, Z_NO_FLUSH);
    RETURN_IF_ERROR(out.append(kPieceBytes - stream.avail_out));
    if (status == Z_STREAM_END) {
      if (stream.avail_in == 0 && fed == in.size()) return {};
      if (!members) return out.damaged("bytes after its end");
      if (inflateReset(&stream) != Z_OK) return out.damaged("a second member cannot be read");
    } else if (status == Z_BUF_ERROR && stream.avail_in == 0 && fed == in.size()) {
      return out.damaged("it ends early");
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      return out.damaged(stream.msg != nullptr ? stream.msg : "it needs a dictionary");
    }
  }
}

// "deflate" means a zlib stream (RFC 9110 §8.4.1.2); some clients send the bare one.
Result<void> inflate_deflate(std::string_view in, Output& out) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(in[i]); };
  const bool zlib = in.size() >= 2 && (byte(0) & 15) == Z_DEFLATED && (byte(0) * 256 + byte(1)) % 31 == 0;
  return inflate_all(in, zlib ? kWindowBits : -kWindowBits, false, out);
}

Result<void> decompress_zstd(std::string_view in, int window_log_max, Output& out) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  CHECK(context != nullptr);
  CHECK(ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, window_log_max)) == 0);
  ZSTD_inBuffer source{in.data(), in.size(), 0};
  for (;;) {
    ZSTD_outBuffer piece{out.piece(), kPieceBytes, 0};
    const size_t before = source.pos;
    const size_t left = ZSTD_decompressStream(context.get(), &piece, &source);
    if (ZSTD_isError(left) != 0) {
      // The only way to tell a window that is too large from damage, without zstd's unstable interface.
      const std::string_view name = ZSTD_getErrorName(left);
      if (name.find("memory") != std::string_view::npos) {
        return Error{ErrorCode::kExhausted,
                     fmt::format("the zstd body needs a window of more than {} bytes", int64_t{1} << window_log_max)};
      }
      return out.damaged(name);
    }
    RETURN_IF_ERROR(out.append(piece.pos));
    if (source.pos == source.size && left == 0) return {};
    const bool stuck = piece.pos == 0 && source.pos == before;
    if (source.pos == source.size && piece.pos < kPieceBytes) return out.damaged("it ends early");
    if (stuck) return out.damaged("it goes nowhere");
  }
}

}  // namespace

Result<std::string> decode_content(std::string_view codings, std::string_view body, const ContentLimits& limits) {
  std::vector<std::string_view> steps;
  while (!codings.empty()) {
    const std::string_view coding = next_list_element(codings);
    if (coding.empty() || equal_ignoring_case(coding, "identity")) continue;
    if (static_cast<int>(steps.size()) >= limits.codings_max) {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("Content-Encoding lists more than {} codings", limits.codings_max)};
    }
    steps.push_back(coding);
  }
  const int64_t by_ratio = std::max(limits.ratio_free_bytes, static_cast<int64_t>(body.size()) * limits.ratio_max);
  const int64_t bytes_max = std::min(limits.bytes_max, by_ratio);
  BodyShare unbounded;
  BodyShare& share = limits.share ? *limits.share : unbounded;
  std::string decoded;
  if (steps.empty()) {
    if (!make_room(decoded, body.size(), body.size(), share))
      return Error{ErrorCode::kExhausted, "there is no room now for the body beside those of all requests"};
    decoded = body;
  }
  while (!steps.empty()) {
    const std::string_view coding = steps.back();
    steps.pop_back();
    Output out(coding, bytes_max, share);
    if (equal_ignoring_case(coding, "gzip") || equal_ignoring_case(coding, "x-gzip")) {
      RETURN_IF_ERROR(inflate_all(body, kWindowBits + kGzipBits, true, out));
    } else if (equal_ignoring_case(coding, "deflate")) {
      RETURN_IF_ERROR(inflate_deflate(body, out));
    } else if (equal_ignoring_case(coding, "zstd")) {
      RETURN_IF_ERROR(decompress_zstd(body, limits.zstd_window_log_max, out));
    } else {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("Content-Encoding {} is not known, expected gzip, deflate or zstd", shown(coding))};
    }
    decoded = out.take();
    body = decoded;
  }
  return decoded;
}

}  // namespace lapidary
