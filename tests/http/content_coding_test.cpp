#include "http/content_coding.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <string>
#include <vector>

namespace lapidary {
namespace {

// window_bits: 15 zlib, 31 gzip, -15 bare.
std::string deflated(const std::string& text, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text, int level = 3, int window_log = 0) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  if (window_log > 0) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size());
  EXPECT_EQ(ZSTD_isError(size), 0u);
  out.resize(size);
  ZSTD_freeCCtx(context);
  return out;
}

// Text that neither compresses too well nor not at all.
std::string prose(size_t bytes) {
  std::string text;
  for (uint32_t i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i * 2654435761u) + " of the body\n";
  text.resize(bytes);
  return text;
}

TEST(ContentCoding, UndoesEachCoding) {
  for (const size_t bytes : {0, 1, 1000, 65536, 300'000}) {
    const std::string text = prose(bytes);
    EXPECT_EQ(*decode_content("", text), text);
    EXPECT_EQ(*decode_content("identity", text), text);
    EXPECT_EQ(*decode_content("gzip", deflated(text, 31)), text);
    EXPECT_EQ(*decode_content("X-GZip", deflated(text, 31)), text);
    EXPECT_EQ(*decode_content("deflate", deflated(text, 15)), text);
    EXPECT_EQ(*decode_content("deflate", deflated(text, -15)), text) << bytes;
    for (const int level : {-5, 1, 3, 19}) EXPECT_EQ(*decode_content("zstd", zstd(text, level)), text) << bytes;
  }
}

TEST(ContentCoding, UndoesSeveralInARow) {
  const std::string text = prose(100'000);
  EXPECT_EQ(*decode_content("gzip, zstd", zstd(deflated(text, 31))), text);
  EXPECT_EQ(*decode_content("identity ,deflate,, gzip", deflated(deflated(text, 15), 31)), text);
}

TEST(ContentCoding, ReadsMembersAndFramesOneAfterAnother) {
  EXPECT_EQ(*decode_content("gzip", deflated("one ", 31) + deflated("two", 31)), "one two");
  EXPECT_EQ(*decode_content("zstd", zstd("one ") + zstd("") + zstd("two")), "one two");
}

TEST(ContentCoding, RefusesWhatItDoesNotKnow) {
  for (const char* coding : {"br", "compress", "gzip, br", "br, gzip", "gz ip", "gzip;q=1", "*"}) {
    const auto decoded = decode_content(coding, deflated("text", 31));
    ASSERT_FALSE(decoded) << coding;
    EXPECT_EQ(decoded.error().code, ErrorCode::kUnsupported) << coding;
  }
  EXPECT_EQ(decode_content("gzip,gzip,gzip,gzip,gzip", "").error().code, ErrorCode::kUnsupported);
}

TEST(ContentCoding, RefusesDamage) {
  const std::string text = prose(10'000);
  const std::vector<std::pair<const char*, std::string>> whole = {{"gzip", deflated(text, 31)},
                                                                  {"deflate", deflated(text, 15)},
                                                                  {"deflate", deflated(text, -15)},
                                                                  {"zstd", zstd(text)}};
  for (const auto& [coding, bytes] : whole) {
    for (const size_t keep : {size_t{0}, size_t{1}, size_t{3}, bytes.size() / 2, bytes.size() - 1}) {
      const auto cut = decode_content(coding, bytes.substr(0, keep));
      ASSERT_FALSE(cut) << coding << " " << keep;
      EXPECT_EQ(cut.error().code, ErrorCode::kInvalidArgument);
    }
    EXPECT_FALSE(decode_content(coding, bytes + "more")) << coding;
    EXPECT_FALSE(decode_content(coding, text)) << coding;
  }
}

TEST(ContentCoding, RefusesBombsEarly) {
  const std::string zeros(8 << 20, '\0');
  for (const auto& [coding, bytes] : std::vector<std::pair<const char*, std::string>>{
           {"gzip", deflated(zeros, 31)}, {"deflate", deflated(zeros, 15)}, {"zstd", zstd(zeros)}}) {
    const auto decoded = decode_content(coding, bytes);
    ASSERT_FALSE(decoded) << coding;
    EXPECT_EQ(decoded.error().code, ErrorCode::kExhausted) << coding << ": " << decoded.error().message;
  }
  const auto twice = decode_content("gzip, gzip", deflated(deflated(zeros, 31), 31));
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::kExhausted);
  // Small bodies may compress as well as they like.
  EXPECT_EQ(decode_content("gzip", deflated(std::string(1 << 20, ' '), 31))->size(), size_t{1} << 20);
  EXPECT_FALSE(decode_content("gzip", deflated(std::string((1 << 20) + 1, ' '), 31)));
  EXPECT_FALSE(decode_content("gzip", deflated(prose(1001), 31), {.bytes_max = 1000}));
  EXPECT_TRUE(decode_content("gzip", deflated(prose(1000), 31), {.bytes_max = 1000}));
}

TEST(ContentCoding, BoundsTheWindow) {
  const std::string text = prose(9 << 20);
  EXPECT_TRUE(decode_content("zstd", zstd(text, 1, 23)));
  const auto wide = decode_content("zstd", zstd(text, 1, 24));
  ASSERT_FALSE(wide);
  EXPECT_EQ(wide.error().code, ErrorCode::kExhausted) << wide.error().message;
}

}  // namespace
}  // namespace lapidary
