#include "chat/prompt_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chat/lower_case.h"
#include "chat/tool_syntax.h"

namespace lapidary {
namespace {

// What a model said, without thoughts that were left in its text: a piece ends at each <channel|>, its thought starts
// at the piece's first <|channel>.
std::string without_thoughts(std::string_view text) {
  std::string kept;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find("<channel|>", begin), text.size());
    const std::string_view piece = text.substr(begin, end - begin);
    kept += piece.substr(0, piece.find("<|channel>"));
    begin = end == text.size() ? end + 1 : end + std::string_view("<channel|>").size();
  }
  return std::string(strip(kept));
}

std::string_view role_text(const Message& message) {
  switch (message.role) {
    case Role::kSystem:
      return "system";
    case Role::kDeveloper:
      return "developer";
    case Role::kUser:
      return "user";
    case Role::kAssistant:
      return "model";
    case Role::kTool:
      return "tool";
    case Role::kOther:
      return message.role_name;
  }
  return "";
}

class PromptWriter {
 public:
  explicit PromptWriter(const Conversation& conversation)
      : conversation_(conversation), turns_(conversation.messages) {}

  Prompt write() && {
    out_.special("<bos>");
    write_system_block();
    // The line feed after the turn is one run with what may follow.
    const size_t head = out_.items().size() > 1 ? out_.items().size() - 1 : 0;
    for (size_t i = 0; i < turns_.size(); ++i) {
      if (turns_[i].role == Role::kUser) last_user_ = static_cast<std::ptrdiff_t>(i);
    }
    for (size_t i = 0; i < turns_.size(); ++i) {
      if (turns_[i].role != Role::kTool) write_message(i);
    }
    Prompt prompt;
    if (conversation_.add_generation_prompt) prompt.thought_open = write_generation_prompt();
    prompt.items = out_.items();
    prompt.head = head;
    return prompt;
  }

 private:
  enum class State : uint8_t { kNone, kToolCall, kToolResponse };

  void write_system_block() {
    const bool has_system = !turns_.empty() && (turns_[0].role == Role::kSystem || turns_[0].role == Role::kDeveloper);
    const Json& tools = conversation_.tools;
    if (!conversation_.thinking && tools.empty() && !has_system) return;
    out_.special("<|turn>");
    out_.text("system\n");
    if (conversation_.thinking) {
      out_.special("<|think|>");
      out_.text("\n");
    }
    if (has_system) {
      for (const Part& part : turns_[0].parts) {
        out_.text(strip(part.text));
        if (turns_[0].form == ContentForm::kParts) out_.text(" ");
      }
      turns_ = turns_.subspan(1);
    }
    for (const Json& tool : tools) write_tool_declaration(tool, conversation_.repair, out_);
    close_turn();
  }

  void close_turn() {
    out_.special("<turn|>");
    out_.text("\n");
  }

  void write_message(size_t index) {
    const Message& message = turns_[index];
    const bool assistant = message.role == Role::kAssistant;
    const bool calls = !message.tool_calls.empty();
    const auto is_turn = [](const Message& m) { return m.role != Role::kTool; };
    const auto next = std::find_if(turns_.begin() + static_cast<std::ptrdiff_t>(index) + 1, turns_.end(), is_turn);

    if (!(assistant && previous_assistant_)) {
      out_.special("<|turn>");
      out_.text(role_text(message));
      out_.text("\n");
    }
    // Thoughts of past turns are dropped; those between the tool calls of the current turn stay.
    const bool current = static_cast<std::ptrdiff_t>(index) > last_user_;
    if (!message.reasoning.empty() && (current || (conversation_.preserve_thinking && calls))) {
      out_.special("<|channel>");
      out_.text("thought\n" + message.reasoning + "\n");
      out_.special("<channel|>");
    }
    for (const ToolCall& call : message.tool_calls) write_tool_call(call, out_);
    const bool results = write_results(index);
    const bool content = write_content(message);

    if (calls && !results) {
      out_.special("<|tool_response>");
      turn_open_ = true;
    } else if (assistant && next != turns_.end() && next->role == Role::kAssistant && (!calls || results)) {
      turn_open_ = true;
    } else if (results && !content && next == turns_.end()) {
      turn_open_ = true;  // the model continues after the results
    } else {
      close_turn();
      turn_open_ = false;
    }
    previous_assistant_ = assistant;
    state_ = results ? State::kToolResponse : calls ? State::kToolCall : State::kNone;
  }

  bool write_results(size_t index) {
    const Message& message = turns_[index];
    for (const ToolResponse& result : message.tool_responses) write_tool_response(result.name, result.response, out_);
    if (!message.tool_responses.empty()) return true;
    if (message.tool_calls.empty()) return false;
    bool any = false;
    for (size_t i = index + 1; i < turns_.size() && turns_[i].role == Role::kTool; ++i) {
      write_result(message, turns_[i]);
      any = true;
    }
    return any;
  }

  void write_result(const Message& caller, const Message& result) {
    std::string_view name = result.name;
    for (const ToolCall& call : caller.tool_calls) {
      if (call.id == result.tool_call_id) name = call.name;  // the last wins; two that are missing are equal
    }
    if (result.form == ContentForm::kScalar) {
      write_tool_response(name, result.scalar, out_);
      return;
    }
    std::string text;
    for (const Part& part : result.parts) text += part.text;
    write_tool_response(name, Json(text), out_);
    for (const Part& part : result.parts) {
      if (part.kind != PartKind::kText) out_.media(part.kind, part.media);
    }
  }

  // Whether anything was written.
  bool write_content(const Message& message) {
    bool any = false;
    for (const Part& part : message.parts) {
      if (part.kind != PartKind::kText) {
        out_.media(part.kind, part.media);
        any = true;
        continue;
      }
      const std::string text =
          message.role == Role::kAssistant ? without_thoughts(part.text) : std::string(strip(part.text));
      out_.text(text);
      any = any || !text.empty();
    }
    return any;
  }

  // Whether the prompt ends inside a thought channel.
  bool write_generation_prompt() {
    const bool reopen = conversation_.repair && state_ == State::kToolResponse && !turn_open_;
    if (state_ == State::kNone || reopen) {
      out_.special("<|turn>");
      out_.text("model\n");
      if (!conversation_.thinking && conversation_.style == PromptStyle::kLarge) {
        out_.special("<|channel>");
        out_.text("thought\n");
        out_.special("<channel|>");
      }
      return false;
    }
    if (state_ != State::kToolResponse || !conversation_.thinking) return false;
    out_.special("<|channel>");
    out_.text("thought\n");
    return true;
  }

  const Conversation& conversation_;
  std::span<const Message> turns_;  // the messages after the system block
  PromptItems out_;
  std::ptrdiff_t last_user_ = -1;
  bool previous_assistant_ = false;
  bool turn_open_ = false;
  State state_ = State::kNone;  // after the last message that is no tool result
};

// Prompt items with media expanded -> ids.
class TokenWriter {
 public:
  TokenWriter(const Tokenizer& tokenizer, std::span<const MediaExpansion> media)
      : tokenizer_(tokenizer), media_(media), used_(media.size(), false) {}

  Result<PromptTokens> write(const Prompt& prompt) && {
    for (size_t i = 0; i < prompt.items.size(); ++i) {
      const PromptItem& item = prompt.items[i];
      if (item.kind == PromptItem::Kind::kText) {
        run_ += item.text;
      } else if (item.kind == PromptItem::Kind::kSpecial) {
        RETURN_IF_ERROR(special(item.text));
      } else {
        RETURN_IF_ERROR(medium(item));
      }
      if (i + 1 == prompt.head) tokens_.head = static_cast<int32_t>(tokens_.ids.size());
    }
    flush();
    for (size_t i = 0; i < used_.size(); ++i) {
      if (!used_[i]) {
        return Error{ErrorCode::kInvalidArgument,
                     fmt::format("medium {} of {} does not appear in the prompt: no part names it, or it stands in a "
                                 "system message or in a result that answers no call, which carry none",
                                 i + 1, used_.size())};
      }
    }
    tokens_.thought_open = prompt.thought_open;
    return std::move(tokens_);
  }

 private:
  void flush() {
    const std::vector<int32_t> ids = tokenizer_.encode(run_, SpecialTokens::kAsText);
    tokens_.ids.insert(tokens_.ids.end(), ids.begin(), ids.end());
    run_.clear();
  }

  Result<int32_t> id_of(std::string_view name) const {
    const std::optional<int32_t> id = tokenizer_.id_of(name);
    if (id) return *id;
    return Error{ErrorCode::kUnsupported, fmt::format("the tokenizer has no token {}, which the prompt needs", name)};
  }

  Result<void> special(std::string_view name) {
    ASSIGN_OR_RETURN(const int32_t id, id_of(name));
    flush();
    tokens_.ids.push_back(id);
    return {};
  }

  Result<void> soft_tokens(std::string_view placeholder, int32_t count, const SoftTokenSpan& span) {
    ASSIGN_OR_RETURN(const int32_t id, id_of(placeholder));
    flush();
    if (count <= 0 || tokens_.ids.size() + static_cast<size_t>(count) > INT32_MAX) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("medium {} has {} soft tokens, at least 1 is expected", span.media + 1, count)};
    }
    SoftTokenSpan placed = span;
    placed.begin = static_cast<int32_t>(tokens_.ids.size());
    tokens_.ids.insert(tokens_.ids.end(), static_cast<size_t>(count), id);
    placed.end = static_cast<int32_t>(tokens_.ids.size());
    tokens_.spans.push_back(placed);
    return {};
  }

  Result<void> medium(const PromptItem& item) {
    const auto wrong = [&](std::string_view what) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("prompt part with medium {} of {}: {}", int64_t{item.media} + 1, media_.size(), what)};
    };
    if (item.media < 0 || static_cast<size_t>(item.media) >= media_.size()) return wrong("there is no such medium");
    const size_t index = static_cast<size_t>(item.media);
    if (used_[index]) return wrong("it appears twice");
    used_[index] = true;
    const MediaExpansion& medium = media_[index];
    const MediaKind kind = item.media_kind == PartKind::kImage   ? MediaKind::kImage
                           : item.media_kind == PartKind::kAudio ? MediaKind::kAudio
                                                                 : MediaKind::kVideo;
    if (medium.kind != kind) return wrong(fmt::format("the part is {}, the medium of another kind", item.text));
    if (kind == MediaKind::kVideo) return video(medium, item.media);
    if (medium.soft_tokens.size() != 1) return wrong("one number of soft tokens is expected");

    const bool image = kind == MediaKind::kImage;
    RETURN_IF_ERROR(special(image ? "<|image>" : "<|audio>"));
    RETURN_IF_ERROR(soft_tokens(item.text, medium.soft_tokens[0], {.media = item.media, .kind = kind}));
    return special(image ? "<image|>" : "<audio|>");
  }

  // Frames joined by one space, each a time stamp, a space and the frame between the markers of an image. The stamps
  // are ordinary text, so the first is one run with what stands before it. What is heard until the next frame follows a
  // frame directly.
  Result<void> video(const MediaExpansion& medium, int32_t index) {
    const size_t frames = medium.soft_tokens.size();
    if (frames == 0 || medium.seconds.size() != frames ||
        (!medium.sound_tokens.empty() && medium.sound_tokens.size() != frames)) {
      return Error{ErrorCode::kInvalidArgument, fmt::format("medium {}: a video of {} frames with {} times", index + 1,
                                                            frames, medium.seconds.size())};
    }
    for (size_t frame = 0; frame < frames; ++frame) {
      // Whole seconds, not rounded; minutes go beyond 60.
      const double seconds = std::clamp(medium.seconds[frame], 0.0, 1e9);
      const int64_t whole = std::isnan(seconds) ? 0 : static_cast<int64_t>(std::floor(seconds));
      run_ += fmt::format("{}{:02d}:{:02d} ", frame > 0 ? " " : "", whole / 60, whole % 60);
      RETURN_IF_ERROR(special("<|image>"));
      RETURN_IF_ERROR(soft_tokens("<|video|>", medium.soft_tokens[frame],
                                  {.media = index, .frame = static_cast<int32_t>(frame), .kind = MediaKind::kVideo}));
      RETURN_IF_ERROR(special("<image|>"));
      if (medium.sound_tokens.empty() || medium.sound_tokens[frame] == 0) continue;
      RETURN_IF_ERROR(special("<|audio>"));
      RETURN_IF_ERROR(soft_tokens("<|audio|>", medium.sound_tokens[frame],
                                  {.media = index, .frame = static_cast<int32_t>(frame), .kind = MediaKind::kAudio}));
      RETURN_IF_ERROR(special("<audio|>"));
    }
    return {};
  }

  const Tokenizer& tokenizer_;
  std::span<const MediaExpansion> media_;
  std::vector<bool> used_;
  std::string run_;  // ordinary text since the last control token
  PromptTokens tokens_;
};

}  // namespace

Prompt prompt_items(const Conversation& conversation) { return PromptWriter(conversation).write(); }

std::string prompt_text(const Conversation& conversation) {
  std::string out;
  for (const PromptItem& item : prompt_items(conversation).items) out += item.text;
  return out;
}

Result<PromptTokens> write_prompt(const Tokenizer& tokenizer, const Conversation& conversation,
                                  std::span<const MediaExpansion> media) {
  return TokenWriter(tokenizer, media).write(prompt_items(conversation));
}

}  // namespace lapidary
