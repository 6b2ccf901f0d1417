// From command-line options to what the engine takes: text, media files and tools become prompt tokens and media spans.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/messages.h"
#include "engine/engine.h"
#include "media/processor_options.h"
#include "prompt/media_shelf.h"

namespace lapidary::cli {

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
