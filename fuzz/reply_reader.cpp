// Bytes as token ids of a vocabulary of bytes, markers and a few words. Any sequence must read, and what comes out must
// be text and JSON.
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "chat/reply_reader.h"
#include "text/tokenizer.h"

namespace {

using namespace lapidary;

const std::vector<const char*> kWords = {"<|channel>",
                                         "<channel|>",
                                         "<|tool_call>",
                                         "<tool_call|>",
                                         "<|tool_response>",
                                         "<|\"|>",
                                         "<|turn>",
                                         "<turn|>",
                                         "<eos>",
                                         "<pad>",
                                         "thought",
                                         "\n",
                                         "thought\n",
                                         "call:",
                                         "call:f{",
                                         "}",
                                         "{",
                                         "[",
                                         "]",
                                         ":",
                                         ",",
                                         "a:",
                                         "1",
                                         "-0.5",
                                         "true",
                                         "null",
                                         "'",
                                         "\"",
                                         "▁",
                                         "x"};

Tokenizer make_tokenizer() {
  TokenizerBuilder builder("fuzz");
  for (int32_t byte = 0; byte < 256; ++byte) {
    constexpr const char* kHex = "0123456789ABCDEF";
    CHECK(builder.add_piece(byte, std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">"));
  }
  for (size_t i = 0; i < kWords.size(); ++i) {
    const std::string word = kWords[i];
    const int32_t id = 256 + static_cast<int32_t>(i);
    CHECK(builder.add_piece(id, word));
    if (i < 10) CHECK(builder.add_token(id, word, true, false));
  }
  Result<Tokenizer> tokenizer = builder.build();
  CHECK(tokenizer);
  return std::move(tokenizer).value();
}

// What was passed on of a call while it was written is the text of its arguments.
void check_pieces(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens, bool thought_open) {
  std::string json;
  const auto take = [&](const std::vector<ReplyEvent>& events) {
    for (const ReplyEvent& event : events) {
      if (event.kind == ReplyEvent::Kind::kCallBegun) json.clear();
      if (event.kind == ReplyEvent::Kind::kCallArguments) json += event.text;
      if (event.kind == ReplyEvent::Kind::kCall) CHECK(json == dump_wire_json(event.call.arguments));
    }
  };
  ReplyReader reader(tokenizer, thought_open);
  for (const int32_t token : tokens) take(reader.push(token));
  take(reader.finish());
}

}  // namespace

// The first byte: whether a thought is open. Then one token for each byte: values below 64 are words, the rest bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer tokenizer = make_tokenizer();
  if (size == 0) return 0;
  std::vector<int32_t> tokens;
  for (size_t i = 1; i < size; ++i) tokens.push_back(data[i] < 64 ? 256 + data[i] : data[i]);
  check_pieces(tokenizer, tokens, data[0] % 2 != 0);
  const Reply reply = read_reply(tokenizer, tokens, data[0] % 2 != 0);
  CHECK(utf8_valid(reply.thought) && utf8_valid(reply.text));
  for (const ToolCall& call : reply.tool_calls) {
    CHECK(!call.name.empty() && utf8_valid(call.name) && call.arguments.is_object());
    CHECK(parse_json_exact(dump_json(call.arguments), "arguments"));
  }
  return 0;
}
