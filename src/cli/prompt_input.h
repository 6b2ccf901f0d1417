// From command-line options to what the engine takes: text, media files and tools become prompt tokens and media spans.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/messages.h"
#include "chat/prompt_writer.h"
#include "engine/engine.h"
#include "media/media_loader.h"
#include "media/processor_options.h"

namespace lapidary::cli {

// A prompt ready to submit.
struct PromptInput {
  std::vector<int32_t> tokens;  // one id per position, placeholders included
  std::vector<MediaSpan> spans;
  bool chat = false;          // written with turns: the reply has the model's reply format
  bool thought_open = false;  // the reply begins inside a thought
  double media_ms = 0;        // reading and preparing files
};

struct MediaFile {
  PartKind kind = PartKind::kImage;
  std::string path;
};

// How media files are prepared; what is not given comes from the model's processor_config.json.
struct MediaOptions {
  std::vector<int32_t> image_tokens;  // budget of the first image, the second, ...; the last is for all that follow
  std::optional<int32_t> video_frames;
  std::optional<double> video_fps;
  bool video_sound = false;

  void add_to(CLI::App& app);
  Result<ProcessorOptions> processor_options(const Engine& engine) const;
};

// Media of one conversation: loaded once, referred to by index.
class MediaShelf {
 public:
  // image_tokens: as in MediaOptions; empty: the budget in options.
  explicit MediaShelf(ProcessorOptions options, std::vector<int32_t> image_tokens = {})
      : options_(std::move(options)), image_tokens_(std::move(image_tokens)) {}

  // Returns the index that parts refer to. Errors: as load_image, load_audio, load_video; kInvalidArgument when there
  // are too many.
  Result<int32_t> add(const MediaFile& file);
  // Of inputs that are ready.
  Result<int32_t> add(PartKind kind, LoadedMedia media);
  const MediaSummary& summary(int32_t index) const { return loaded_[static_cast<size_t>(index)].summary; }

  // Writes the conversation's prompt and finds every span its input.
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

// The prompt options of run and score.
struct PromptOptions {
  std::string prompt;
  std::string prompt_tokens;
  std::vector<MediaFile> files;  // in the order given
  MediaOptions media;
  std::string system, tools_path;
  bool think = false, raw = false;
  CLI::Option* prompt_option = nullptr;
  CLI::Option* tokens_option = nullptr;

  void add_to(CLI::App& app);
  Result<PromptInput> build(const Engine& engine) const;
};

// Reads and checks a tools file. Errors: kNotFound, kCorruptFile, kInvalidArgument naming the part that is wrong.
Result<Json> read_tools(const std::string& path);

}  // namespace lapidary::cli
