#include "server/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/fnv.h"
#include "base/limits.h"
#include "engine/reply_grammar.h"
#include "grammar/compile.h"
#include "media/image_file.h"

namespace lapidary::server {
namespace {

const char* media_code(PartKind kind) {
  return kind == PartKind::kAudio ? "invalid_audio" : kind == PartKind::kVideo ? "invalid_video" : "invalid_image";
}

const char* media_word(PartKind kind) {
  return kind == PartKind::kAudio ? "sound" : kind == PartKind::kVideo ? "video" : "pictures";
}

ApiError media_error(const Error& error, PartKind kind, const std::string& param) {
  const bool unsupported = error.code == ErrorCode::kUnsupported;
  return bad_request(unsupported ? "unsupported_media_type" : media_code(kind), param, error.message);
}

// The smallest budget that holds as many soft tokens as the picture has squares of their size: none is spent on
// enlarging it.
int32_t budget_for(const Image& image, const ImageOptions& options) {
  const double side = options.side();
  const double squares = std::ceil(image.width / side) * std::ceil(image.height / side);
  for (const int32_t budget : kSoftTokenBudgets) {
    if (budget >= squares) return budget;
  }
  return kSoftTokenBudgets.back();
}

// A picture with the budget that its size asks for, which `budget` becomes.
Result<int32_t> add_fitting_picture(MediaShelf& shelf, std::span<const std::byte> bytes, std::string_view name,
                                    const DecodeWatch& watch, std::optional<int32_t>& budget) {
  ASSIGN_OR_RETURN(const Image image, decode_image(bytes, name, watch));
  ImageOptions options = shelf.options().image;
  budget = options.max_soft_tokens = budget_for(image, options);
  RETURN_IF_ERROR(shelf.check_room(name));
  ASSIGN_OR_RETURN(LoadedMedia media, load_image(image, name, options));
  return shelf.add(PartKind::kImage, std::move(media));
}

uint64_t salt_of(const std::string& text) {
  if (text.empty()) return 0;
  return fnv1a(text) | 1;
}

// Only some tokens may be drawn.
class AllowedTokens final : public TokenConstraint {
 public:
  AllowedTokens(std::vector<int32_t> tokens, std::vector<int32_t> ends) : tokens_(std::move(tokens)) {
    tokens_.insert(tokens_.end(), ends.begin(), ends.end());
  }
  bool allowed_next(std::span<uint64_t> allowed) override {
    for (const int32_t token : tokens_) allowed[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
    return true;
  }
  void accept(int32_t) override {}

 private:
  std::vector<int32_t> tokens_;
};

ApiError grammar_error(const Error& error, const char* code, const std::string& param) {
  return bad_request(code, param, param.empty() ? error.message : fmt::format("{}: {}", param, error.message));
}

ApiResult<GrammarPtr> compile_format(Service& service, const AnswerFormat& format) {
  const bool strict = format.strict;
  Result<GrammarPtr> grammar = Error{};
  switch (format.kind) {
    case AnswerFormat::Kind::kText:
      return GrammarPtr();
    case AnswerFormat::Kind::kJsonObject:
      grammar = service.grammars().get("object", [] { return compile_json_object({}); });
      break;
    case AnswerFormat::Kind::kSchema:
      grammar = service.grammars().get(fmt::format("schema {} {}", strict, dump_json(format.schema)),
                                       [&] { return compile_json_schema(format.schema, {.strict = strict}); });
      break;
    case AnswerFormat::Kind::kRegex:
      grammar = service.grammars().get("regex " + format.regex, [&] { return compile_regex(format.regex); });
      break;
    case AnswerFormat::Kind::kChoice:
      grammar = service.grammars().get("choice " + dump_json(Json(format.choices)),
                                       [&] { return compile_choice(format.choices); });
      break;
  }
  if (grammar) return std::move(*grammar);
  const bool is_schema = format.kind == AnswerFormat::Kind::kSchema;
  return grammar_error(grammar.error(), is_schema ? "invalid_json_schema" : "invalid_grammar", format.param);
}

ApiResult<GrammarPtr> compile_calls(Service& service, const ChatRequest& request) {
  const ToolChoice& choice = request.tool_choice;
  ToolCallOptions options;
  options.names = choice.names;
  options.parallel = choice.parallel;
  options.after_marker = true;
  const std::string key = fmt::format("tools {} {} {}", options.parallel, dump_json(Json(options.names)),
                                      dump_json(request.conversation.tools));
  Result<GrammarPtr> grammar =
      service.grammars().get(key, [&] { return compile_tool_calls(request.conversation.tools, options); });
  if (grammar) return std::move(*grammar);
  return grammar_error(grammar.error(), "invalid_function_parameters", "tools");
}

bool has_tools(const ChatRequest& request) { return !request.conversation.tools.empty(); }

// What the reply must be, for each choice its own.
std::optional<ApiError> add_constraints(Service& service, const ChatRequest& request, bool chat, bool thought_open,
                                        GenerationRequest& generation) {
  Engine& engine = service.engine().engine();
  if (request.allowed_tokens) {
    if (request.format.kind != AnswerFormat::Kind::kText || has_tools(request))
      return bad_request("unsupported_value", "allowed_token_ids",
                         "allowed_token_ids: cannot be had together with tools or a format of the answer");
    for (int32_t i = 0; i < request.choices; ++i)
      generation.constraints.push_back(
          std::make_shared<AllowedTokens>(*request.allowed_tokens, engine.model().generation_defaults().stop_ids));
    return {};
  }
  ApiResult<GrammarPtr> answer = compile_format(service, request.format);
  if (!answer) return answer.error();
  ReplyConstraintOptions options;
  options.answer = *answer;
  options.chat = chat;
  const bool thinks = chat && request.conversation.thinking;
  if (chat) {
    options.tools = has_tools(request) ? request.tool_choice.use : ToolUse::kNone;
    options.thinking_tokens_max = thinks ? request.thinking_budget : -1;
    options.thought_open = thought_open;
    if (options.tools != ToolUse::kNone) {
      ApiResult<GrammarPtr> calls = compile_calls(service, request);
      if (!calls) return calls.error();
      options.calls = *calls;
    }
  }
  const bool free = !options.answer && !options.calls && options.thinking_tokens_max < 0;
  // Held to a grammar, a model may find a thought likelier than any answer: one that was not asked for is not begun.
  if (chat && !thinks) options.thinking_tokens_max = 0;
  if (free) {
    // A call of tools that nobody declared is no answer.
    const std::optional<int32_t> call = engine.tokenizer().id_of("<|tool_call>");
    if (chat && call) generation.sampling.logit_bias.emplace_back(*call, -100.0f);
    return {};
  }
  for (int32_t i = 0; i < request.choices; ++i) {
    auto constraint = make_reply_grammar(options, engine);
    if (!constraint) return bad_request("unsupported_value", request.format.param, constraint.error().message);
    generation.constraints.push_back(std::move(*constraint));
  }
  return {};
}

uint64_t random_seed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

ApiResult<AnswerRequest> make_answer(Service& service, Surface surface, const ChatRequest& request, PromptInput input,
                                     std::string_view param) {
  const Engine& engine = service.engine().engine();
  const int32_t context = engine.memory().context;
  const auto length = static_cast<int64_t>(input.tokens.size());
  if (length > context || (length == context && request.tokens_max != 0))
    return context_error(surface, length, context, param);
  AnswerRequest answer;
  GenerationRequest& generation = answer.generation;
  generation.prompt = std::move(input.tokens);
  generation.head_tokens = input.head;
  generation.media = std::move(input.spans);
  generation.sampling = request.sampling;
  generation.sampling.seed = request.seed.value_or(random_seed());
  const int32_t room = context - static_cast<int32_t>(length) + 1;
  generation.tokens_max = std::min(request.tokens_max.value_or(room), room);
  generation.tokens_min = std::min(request.tokens_min, generation.tokens_max);
  generation.stop_tokens = request.stop_tokens;
  generation.ignore_eos = request.ignore_eos;
  generation.logprobs = request.logprobs;
  generation.prompt_logprobs = request.prompt_logprobs;
  generation.choices = request.choices;
  generation.use_prefix_cache = request.use_prefix_cache;
  generation.cache_salt = salt_of(request.cache_salt);
  generation.break_repetition = !request.ignore_eos;
  if (!input.chat) generation.stop = request.stop;
  if (const auto error = add_constraints(service, request, input.chat, input.thought_open, generation)) return *error;
  answer.options.chat = input.chat;
  answer.options.thought_open = input.thought_open;
  answer.options.goes_on = request.ignore_eos;
  answer.options.show_thought = request.conversation.thinking;
  answer.options.include_stop = request.include_stop;
  if (input.chat) answer.options.stop = request.stop;
  answer.options.stop_tokens = request.stop_tokens;
  return answer;
}

}  // namespace

ApiError context_error(Surface surface, int64_t tokens, int64_t context, std::string_view param) {
  const std::string message =
      surface == Surface::kAnthropic
          ? fmt::format("prompt is too long: {} tokens > {} maximum", tokens, context)
          : fmt::format(
                "This model's maximum context length is {} tokens. However, your messages resulted in {} "
                "tokens. Please reduce the length of the messages.",
                context, tokens);
  return bad_request("context_length_exceeded", std::string(param), message);
}

ApiError engine_error(const Error& error) {
  switch (error.code) {
    case ErrorCode::kExhausted:
      return {ErrorKind::kQueueFull, "", error.message, "", 1};
    case ErrorCode::kNotFound:
      return {ErrorKind::kNotFound, "", error.message};
    case ErrorCode::kUnsupported:
      return bad_request("unsupported_value", "", error.message);
    default:
      return bad_request("invalid_value", "", error.message);
  }
}

ApiResult<PreparedPrompt> prepare_prompt(Service& service, const ChatRequest& request,
                                         const std::atomic<bool>& cancelled) {
  ProcessorOptions processor = service.processor();
  if (request.video_frames) processor.video.num_frames = *request.video_frames;
  if (request.video_fps) processor.video.fps = request.video_fps;
  MediaShelf shelf(processor);
  DecodeBudget decoded(service.options().decode);
  const Engine& engine = service.engine().engine();
  PreparedPrompt prompt;
  const Clock::time_point begin = Clock::now();
  for (const MediaRef& ref : request.media) {
    const bool takes = ref.kind == PartKind::kAudio ? service.card().hears : service.card().sees;
    if (!takes)
      return bad_request("unsupported_media_type", ref.param,
                         fmt::format("{}: {} takes no {}", ref.param, service.card().id, media_word(ref.kind)));
    ApiResult<std::string> bytes = service.media().load(ref.url, ref.kind, ref.param, ref.allow_base64, cancelled);
    if (!bytes) return std::move(bytes).error();
    const auto view = std::as_bytes(std::span(bytes->data(), bytes->size()));
    std::optional<int32_t> budget = ref.image_tokens ? ref.image_tokens : request.image_tokens;
    const DecodeWatch watch(decoded, media_kind(ref.kind));
    const bool automatic = ref.kind == PartKind::kImage && budget == kAutoImageTokens;
    const Result<int32_t> index = automatic ? add_fitting_picture(shelf, view, ref.param, watch, budget)
                                            : shelf.add(ref.kind, view, ref.param, budget, watch);
    if (!index) return media_error(index.error(), ref.kind, ref.param);
    if (ref.kind == PartKind::kImage) prompt.image_budgets.push_back(budget.value_or(processor.image.max_soft_tokens));
    if (shelf.summary(*index).cut) {
      return bad_request("invalid_audio", ref.param,
                         fmt::format("{}: longer than the {} s that one recording in a conversation may have; "
                                     "/v1/audio/transcriptions takes any length",
                                     ref.param, kLimits.audio_clip_samples_max / 16000));
    }
    prompt.media.push_back(shelf.summary(*index));
  }
  Conversation conversation = request.conversation;
  std::string begun;
  if (request.continues_reply) {
    begun = text_of(conversation.messages.back());
    conversation.messages.pop_back();
    conversation.add_generation_prompt = true;
  }
  Result<PromptInput> input = shelf.write(engine, conversation);
  if (!input) return bad_request("invalid_value", "messages", input.error().message);
  prompt.input = std::move(*input);
  if (!begun.empty()) {
    // What is begun is an answer: a thought that the prompt opens ends before it.
    if (const auto end = engine.tokenizer().id_of("<channel|>"); prompt.input.thought_open && end) {
      prompt.input.tokens.push_back(*end);
      prompt.input.thought_open = false;
    }
    const std::vector<int32_t> ids = engine.tokenizer().encode(begun, SpecialTokens::kAsText);
    prompt.input.tokens.insert(prompt.input.tokens.end(), ids.begin(), ids.end());
  }
  prompt.input.media_ms = AnswerTimes::seconds(begin, Clock::now()) * 1000;
  return prompt;
}

ApiResult<AnswerRequest> prepare_answer(Service& service, Surface surface, const ChatRequest& request,
                                        PreparedPrompt prompt, std::string_view param) {
  return make_answer(service, surface, request, std::move(prompt.input), param);
}

ApiResult<AnswerRequest> prepare_text(Service& service, Surface surface, const ChatRequest& request,
                                      std::vector<int32_t> tokens, std::string_view param) {
  PromptInput input;
  input.tokens = std::move(tokens);
  return make_answer(service, surface, request, std::move(input), param);
}

}  // namespace lapidary::server
