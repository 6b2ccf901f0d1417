#include "prompt/media_shelf.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"

namespace lapidary {
namespace {

Result<LoadedMedia> load(PartKind kind, const ProcessorOptions& options, const std::filesystem::path& file) {
  return kind == PartKind::kAudio   ? load_audio(file, options.audio)
         : kind == PartKind::kVideo ? load_video(file, options.video)
                                    : load_image(file, options.image);
}

Result<LoadedMedia> load(PartKind kind, const ProcessorOptions& options, std::span<const std::byte> bytes,
                         std::string_view name, const DecodeWatch& watch) {
  return kind == PartKind::kAudio   ? load_audio(bytes, name, options.audio, watch)
         : kind == PartKind::kVideo ? load_video(bytes, name, options.video, watch)
                                    : load_image(bytes, name, options.image, watch);
}

}  // namespace

MediaKind media_kind(PartKind kind) {
  return kind == PartKind::kAudio   ? MediaKind::kAudio
         : kind == PartKind::kVideo ? MediaKind::kVideo
                                    : MediaKind::kImage;
}

Result<ProcessorOptions> model_processor_options(const Model& model) {
  ASSIGN_OR_RETURN(ProcessorOptions options, read_processor_options(model.dir().path));
  // The model decides what it sees and hears; a processor_config.json may be missing or carry another model's section.
  const ModelConfig& config = model.config();
  options.image.tower_patches = options.video.tower_patches = config.vision_tower.has_value();
  if (!config.audio_tower) {
    options.audio.mel.reset();
  } else if (!options.audio.mel) {
    options.audio.mel.emplace();
  }
  return options;
}

PromptStyle prompt_style(std::string_view variant) {
  return variant == "e2b" || variant == "e4b" ? PromptStyle::kSmall : PromptStyle::kLarge;
}

Result<void> MediaShelf::check_room(std::string_view name) const {
  if (loaded_.size() < static_cast<size_t>(kLimits.media_parts_max)) return {};
  return Error{ErrorCode::kInvalidArgument,
               fmt::format("{}: a prompt may have at most {} media", name, kLimits.media_parts_max)};
}

Result<int32_t> MediaShelf::add(PartKind kind, const std::filesystem::path& file) {
  RETURN_IF_ERROR(check_room(file.string()));
  if (kind == PartKind::kImage) {
    if (!image_tokens_.empty()) {
      options_.image.max_soft_tokens = image_tokens_[std::min(images_, image_tokens_.size() - 1)];
    }
    ++images_;
  }
  ASSIGN_OR_RETURN(LoadedMedia media, load(kind, options_, file));
  if (media.summary.cut) {
    spdlog::warn("{}: longer than a clip may be; only the first {:.0f} s are heard", file.string(),
                 media.summary.seconds);
  }
  return add(kind, std::move(media));
}

Result<int32_t> MediaShelf::add(PartKind kind, std::span<const std::byte> bytes, std::string_view name,
                                std::optional<int32_t> image_tokens, const DecodeWatch& watch) {
  RETURN_IF_ERROR(check_room(name));
  ProcessorOptions options = options_;
  if (image_tokens) options.image.max_soft_tokens = *image_tokens;
  ASSIGN_OR_RETURN(LoadedMedia media, load(kind, options, bytes, name, watch));
  return add(kind, std::move(media));
}

Result<int32_t> MediaShelf::add(PartKind kind, LoadedMedia media) {
  Loaded loaded;
  loaded.summary = media.summary;
  loaded.expansion.kind = media_kind(kind);
  for (MediaInput& input : media.inputs) {
    loaded.expansion.soft_tokens.push_back(input.rows);
    if (kind == PartKind::kVideo) loaded.expansion.seconds.push_back(input.seconds);
    loaded.inputs.push_back(std::make_shared<const MediaInput>(std::move(input)));
  }
  for (MediaInput& sound : media.sounds) {
    loaded.expansion.sound_tokens.push_back(sound.rows);
    loaded.sounds.push_back(std::make_shared<const MediaInput>(std::move(sound)));
  }
  loaded_.push_back(std::move(loaded));
  return static_cast<int32_t>(loaded_.size()) - 1;
}

Result<PromptInput> MediaShelf::write(const Engine& engine, const Conversation& conversation) const {
  std::vector<MediaExpansion> expansions;
  expansions.reserve(loaded_.size());
  for (const Loaded& loaded : loaded_) expansions.push_back(loaded.expansion);
  Conversation styled = conversation;
  styled.style = prompt_style(engine.model().config().variant);
  ASSIGN_OR_RETURN(PromptTokens written, write_prompt(engine.tokenizer(), styled, expansions));
  PromptInput prompt;
  prompt.tokens = std::move(written.ids);
  prompt.head = written.head;
  prompt.chat = true;
  prompt.thought_open = written.thought_open;
  for (const SoftTokenSpan& span : written.spans) {
    const Loaded& medium = loaded_[static_cast<size_t>(span.media)];
    const bool between_frames = span.kind == MediaKind::kAudio && !medium.sounds.empty();
    prompt.spans.push_back(
        {span.begin, span.end, (between_frames ? medium.sounds : medium.inputs)[static_cast<size_t>(span.frame)]});
  }
  return prompt;
}

}  // namespace lapidary
