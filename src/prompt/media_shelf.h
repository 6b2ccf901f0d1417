// Conversation and media -> what the engine takes: prompt tokens, and for every place of a picture, a frame or sound
// the input that fills it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/messages.h"
#include "chat/prompt_writer.h"
#include "engine/engine.h"
#include "media/media_loader.h"
#include "media/processor_options.h"

namespace lapidary {

// A prompt ready to submit.
struct PromptInput {
  std::vector<int32_t> tokens;  // one id per position, placeholders included
  std::vector<MediaSpan> spans;
  int32_t head = 0;           // tokens of instructions and tools, as PromptTokens says
  bool chat = false;          // written with turns: the reply has the model's reply format
  bool thought_open = false;  // the reply begins inside a thought
  double media_ms = 0;        // reading and preparing files
};

// How the model's directory wants media prepared, corrected by what the model itself sees and hears.
Result<ProcessorOptions> model_processor_options(const Model& model);

// The two families of templates: E2B and E4B do not open a reply with an empty thought channel.
PromptStyle prompt_style(std::string_view variant);

// A part's kind as the decoders name it; a text has none.
MediaKind media_kind(PartKind kind);

// Media of one conversation: loaded once, referred to by index.
class MediaShelf {
 public:
  // image_tokens: budget of the first picture, the second, ...; the last is for all that follow; empty: that of
  // options.
  explicit MediaShelf(ProcessorOptions options, std::vector<int32_t> image_tokens = {})
      : options_(options), image_tokens_(std::move(image_tokens)) {}

  // All return the index that parts refer to. Errors: as load_image, load_audio, load_video; kInvalidArgument when
  // there are too many.
  Result<int32_t> add(PartKind kind, const std::filesystem::path& file);
  // image_tokens: the budget of this picture. watch bounds the decoding.
  Result<int32_t> add(PartKind kind, std::span<const std::byte> bytes, std::string_view name,
                      std::optional<int32_t> image_tokens, const DecodeWatch& watch = {});
  Result<int32_t> add(PartKind kind, LoadedMedia media);  // of inputs that are ready; see check_room
  Result<void> check_room(std::string_view name) const;   // for one more
  const MediaSummary& summary(int32_t index) const { return loaded_[static_cast<size_t>(index)].summary; }
  int32_t size() const { return static_cast<int32_t>(loaded_.size()); }
  ProcessorOptions& options() { return options_; }

  // Writes the conversation's prompt and finds every span its input. Errors: as write_prompt.
  Result<PromptInput> write(const Engine& engine, const Conversation& conversation) const;

 private:
  struct Loaded {
    std::vector<std::shared_ptr<const MediaInput>> inputs;
    std::vector<std::shared_ptr<const MediaInput>> sounds;  // of a video, after each frame
    MediaSummary summary;
    MediaExpansion expansion;
  };

  ProcessorOptions options_;
  std::vector<int32_t> image_tokens_;
  size_t images_ = 0;
  std::vector<Loaded> loaded_;
};

}  // namespace lapidary
