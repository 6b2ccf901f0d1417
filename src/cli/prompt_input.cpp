#include "cli/prompt_input.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <iterator>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "chat/tool_schema.h"
#include "cli/options.h"

namespace lapidary::cli {
namespace {

Result<std::string> read_stdin() {
  std::string text;
  char block[65536];
  while (std::cin.read(block, sizeof(block)) || std::cin.gcount() > 0) {
    text.append(block, static_cast<size_t>(std::cin.gcount()));
    if (static_cast<int64_t>(text.size()) > kLimits.prompt_bytes_max) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("stdin: a prompt may have at most {} bytes", kLimits.prompt_bytes_max)};
    }
  }
  // A shell's echo adds a line feed that nobody meant.
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

void MediaOptions::add_to(CLI::App& app) {
  const char* group = "Media";
  app.add_option("--image-tokens", image_tokens,
                 "soft-token budget of an image: 70, 140, 280, 560 or 1120 (the model's own); once for all images, or "
                 "once for each, in their order")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->check(CLI::IsMember({70, 140, 280, 560, 1120}))
      ->group(group);
  app.add_option("--video-fps", video_fps, "frames to take from each second of a video (evenly spread over it)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--video-frames", video_frames, "frames to take from a video")
      ->check(CLI::Range(1, static_cast<int>(kLimits.video_frames_max)))
      ->group(group);
  app.add_flag("--video-sound", video_sound, "hear a video as well: after each frame its sound until the next")
      ->group(group);
}

Result<ProcessorOptions> MediaOptions::processor_options(const Engine& engine) const {
  ASSIGN_OR_RETURN(ProcessorOptions options, model_processor_options(engine.model()));
  if (video_frames) options.video.num_frames = *video_frames;
  if (video_fps) options.video.fps = *video_fps;
  if (video_sound) {
    if (!engine.model().config().takes_sound()) {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("--video-sound: {} does not hear: its config has no audio_config",
                               engine.model().config().variant)};
    }
    options.video.sound = options.audio;
  }
  return options;
}

void PromptOptions::add_to(CLI::App& app) {
  const char* group = "Prompt";
  prompt_option = app.add_option("PROMPT", prompt, "what to say; - or a pipe reads it from stdin");
  // Media keep the order they were given in, across the three options.
  const auto add_files = [&](const char* name, PartKind kind, const char* help) {
    app.add_option_function<std::string>(
           name,
           [this, kind](const std::string& path) {
             files.push_back({kind, path});
           },
           help)
        ->type_name("FILE")
        ->trigger_on_parse()
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->group(group);
  };
  add_files("--image", PartKind::kImage,
            "attach a picture (repeatable; media come before the text, in the order given)");
  add_files("--audio", PartKind::kAudio, "attach a recording (repeatable)");
  add_files("--video", PartKind::kVideo, "attach a video (repeatable)");
  app.add_option("--system", system, "system instructions")->type_name("TEXT")->group(group);
  app.add_flag("--think", think, "let the model think before it answers")->group(group);
  app.add_option("--tools", tools_path, "JSON file with tool declarations, as in the OpenAI API")
      ->type_name("FILE")
      ->group(group);
  app.add_flag("--raw", raw, "the prompt as it is: no chat turns; BOS is added")->group(group);
  tokens_option = app.add_option("--prompt-tokens", prompt_tokens, "token ids instead of text; nothing is added")
                      ->type_name("2,105,...")
                      ->group(group);
  media.add_to(app);
}

Result<PromptInput> PromptOptions::build(const Engine& engine) const {
  const Stopwatch watch;
  if (tokens_option->count() > 0) {
    if (!files.empty() || prompt_option->count() > 0) {
      return Error{ErrorCode::kInvalidArgument, "--prompt-tokens stands alone: neither a PROMPT nor media go with it"};
    }
    PromptInput input;
    ASSIGN_OR_RETURN(input.tokens, parse_token_ids(prompt_tokens));
    return input;
  }
  std::string text = prompt;
  if (prompt == "-" || (prompt_option->count() == 0 && ::isatty(STDIN_FILENO) == 0)) {
    ASSIGN_OR_RETURN(text, read_stdin());
  }
  if (static_cast<int64_t>(text.size()) > kLimits.prompt_bytes_max) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("a prompt may have at most {} bytes, found {}", kLimits.prompt_bytes_max, text.size())};
  }
  if (text.empty() && files.empty())
    return Error{ErrorCode::kInvalidArgument,
                 "no prompt: give a PROMPT, a pipe on stdin, or a file with --image, --audio or --video"};
  if (raw) {
    if (!files.empty() || !system.empty() || think || !tools_path.empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   "--raw uses the prompt as it is: media, --system, --think and --tools need chat turns"};
    }
    PromptInput input;
    input.tokens.push_back(engine.model().config().bos_id);
    const std::vector<int32_t> ids = engine.tokenizer().encode(text, SpecialTokens::kRecognise);
    // A prompt that brings its own BOS must not get two.
    input.tokens.insert(input.tokens.end(), ids.begin() + (!ids.empty() && ids.front() == input.tokens.front() ? 1 : 0),
                        ids.end());
    return input;
  }
  ASSIGN_OR_RETURN(ProcessorOptions processor, media.processor_options(engine));
  MediaShelf shelf(processor, media.image_tokens);
  Conversation conversation;
  conversation.thinking = think;
  if (!tools_path.empty()) {
    ASSIGN_OR_RETURN(conversation.tools, read_tools(tools_path));
  }
  if (!system.empty()) conversation.messages.push_back(text_message(Role::kSystem, system));
  Message user;
  user.role = Role::kUser;
  if (!files.empty()) user.form = ContentForm::kParts;
  for (const MediaFile& file : files) {
    ASSIGN_OR_RETURN(const int32_t index, shelf.add(file.kind, file.path));
    user.parts.push_back({file.kind, "", index});
  }
  if (!text.empty()) user.parts.push_back({PartKind::kText, text});
  conversation.messages.push_back(std::move(user));
  ASSIGN_OR_RETURN(PromptInput input, shelf.write(engine, conversation));
  input.media_ms = files.empty() ? 0 : watch.milliseconds();
  return input;
}

Result<Json> read_tools(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kLimits.config_bytes_max));
  ASSIGN_OR_RETURN(const Json tools, parse_json(text, path));
  return check_tools(tools, path);
}

}  // namespace lapidary::cli
