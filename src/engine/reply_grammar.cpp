#include "engine/reply_grammar.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace lapidary {
namespace {

// Text forced by a grammar is looked for this far ahead for each token wanted: few pieces of a vocabulary are longer.
constexpr int32_t kForcedBytesPerToken = 16;

class ReplyGrammar final : public TokenConstraint {
 public:
  ReplyGrammar(const ReplyConstraintOptions& options, std::shared_ptr<MaskLibrary> library, const Tokenizer& tokenizer)
      : options_(options), library_(std::move(library)), tokenizer_(&tokenizer) {}

  bool allowed_next(std::span<uint64_t> allowed) override {
    // The model may have more ids than the tokenizer: those have no text and no place in a grammar.
    const size_t words = library_->trie().mask_words();
    CHECK(allowed.size() >= words);
    return reply().mask(allowed.first(words));
  }

  // A token that was not allowed is drawn only where a model suppresses all that are: the answer cannot go on.
  void accept(int32_t token) override { stuck_ = !reply().advance(token) || stuck_; }

  bool ended() const override {
    if (!reply_) return false;
    return stuck_ || reply_->ended() || (library_->trie().end_tokens().empty() && reply_->must_end());
  }

  std::vector<int32_t> forced_next(int32_t most) override {
    std::vector<int32_t> tokens = reply().forced_tokens(*tokenizer_, most * kForcedBytesPerToken);
    if (tokens.size() > static_cast<size_t>(most)) tokens.resize(static_cast<size_t>(most));
    return tokens;
  }

  std::unique_ptr<TokenConstraint> fork() override {
    reply();
    return std::make_unique<ReplyGrammar>(*this);
  }

 private:
  // Masks belong to the engine's thread, which is the first to ask for one.
  ReplyConstraint& reply() {
    if (!reply_) reply_.emplace(options_, library_);
    return *reply_;
  }

  ReplyConstraintOptions options_;
  std::shared_ptr<MaskLibrary> library_;
  const Tokenizer* tokenizer_;
  std::optional<ReplyConstraint> reply_;
  bool stuck_ = false;
};

Result<void> check_markers(const Grammar& grammar, const TokenTrie& trie) {
  for (const std::string& marker : grammar.markers()) {
    if (trie.marker(marker) >= 0) continue;
    return Error{ErrorCode::kUnsupported,
                 fmt::format("tools: the model's vocabulary has no {}, so it cannot call any", marker)};
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<TokenConstraint>> make_reply_grammar(const ReplyConstraintOptions& options, Engine& engine) {
  std::shared_ptr<MaskLibrary> library = engine.mask_library();
  const TokenTrie& trie = library->trie();
  if (options.chat && options.tools == ToolUse::kRequired) {
    CHECK(options.calls != nullptr);
    if (trie.marker("<|tool_call>") < 0)
      return Error{ErrorCode::kUnsupported, "tools: the model's vocabulary has no <|tool_call>, so it cannot call any"};
  }
  if (options.answer) RETURN_IF_ERROR(check_markers(*options.answer, trie));
  if (options.calls && options.tools != ToolUse::kNone) RETURN_IF_ERROR(check_markers(*options.calls, trie));
  return std::shared_ptr<TokenConstraint>(
      std::make_shared<ReplyGrammar>(options, std::move(library), engine.tokenizer()));
}

Result<std::shared_ptr<TokenConstraint>> make_text_grammar(GrammarPtr grammar, Engine& engine) {
  ReplyConstraintOptions options;
  options.answer = std::move(grammar);
  options.chat = false;
  return make_reply_grammar(options, engine);
}

}  // namespace lapidary
