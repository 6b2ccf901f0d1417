// Messages -> prompt, in the format of the templates published with Gemma 4 on 2026-07-09.
//
// The prompt is a sequence of control tokens, ordinary text and places for media. Whatever a user, a tool or a model
// wrote is ordinary text: "<turn|>" in a message stays seven characters and never becomes the token (the reference
// renders a string and reads it back, where it would). For messages without such text the ids are the reference's.
//
// With Conversation::repair, the default, three faults of the published template are mended:
// - After an assistant message that has tool calls, results and text, it closes the turn and opens none (or only a
//   thought channel). The turn of the reply is opened here as after any closed turn.
// - A tool's parameters, or response, without a type leave the declaration's braces open. They are closed; parameters
//   are given the type object.
// - A null description prints the word None. Null counts as absent.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/media_input.h"
#include "base/result.h"
#include "chat/messages.h"
#include "chat/prompt_items.h"
#include "text/tokenizer.h"

namespace lapidary {

// What a medium becomes in the prompt.
struct MediaExpansion {
  MediaKind kind = MediaKind::kImage;
  std::vector<int32_t> soft_tokens;  // an image, a clip: one number; a video: one for each frame
  std::vector<double> seconds;       // a video: the time of each frame in the source
  // A video that is heard: soft tokens of the sound after each frame, 0 where there is none; else empty.
  std::vector<int32_t> sound_tokens;
};

// Soft tokens of one image, one clip or one video frame: ids[begin, end) hold the placeholder token.
struct SoftTokenSpan {
  int32_t begin = 0, end = 0;
  int32_t media = 0;                   // index of the medium
  int32_t frame = 0;                   // of a video
  MediaKind kind = MediaKind::kImage;  // kAudio with the medium a video: the sound after the frame
};

struct PromptTokens {
  std::vector<int32_t> ids;
  std::vector<SoftTokenSpan> spans;  // in the order of the prompt
  bool thought_open = false;         // the prompt ends inside a thought channel: the reply begins as a thought
  int32_t head = 0;                  // ids of the turn of instructions and tools and what stands before it; 0: none
};

struct Prompt {
  std::vector<PromptItem> items;
  bool thought_open = false;
  size_t head = 0;  // items
};

Prompt prompt_items(const Conversation& conversation);

// The prompt as the template renders it, one placeholder token for each medium.
std::string prompt_text(const Conversation& conversation);

// The prompt as ids; media[i] is what Part::media == i becomes. Errors: kInvalidArgument when a part names no medium or
// one of another kind, when a medium is empty, used twice, or stands where the format drops it (system messages,
// results that answer no call); kUnsupported when the tokenizer lacks a control token that the prompt needs.
Result<PromptTokens> write_prompt(const Tokenizer& tokenizer, const Conversation& conversation,
                                  std::span<const MediaExpansion> media);

}  // namespace lapidary
