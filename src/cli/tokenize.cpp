#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>
#include <iterator>
#include <memory>

#include "base/json.h"
#include "base/limits.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "text/tokenizer.h"

namespace lapidary::cli {
namespace {

struct TokenizeOptions {
  std::string model, text, format = "text";
  bool bos = false, special = false;

  Result<Tokenizer> open() const {
    ASSIGN_OR_RETURN(const std::string path, model.empty() ? shipped_model_path() : Result<std::string>(model));
    return Tokenizer::open(path);
  }
};

std::string read_stdin() { return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()}; }

int tokenize(const TokenizeOptions& options, bool from_stdin) {
  const auto tokenizer = options.open();
  if (!tokenizer) return fail(tokenizer.error());
  const std::string text = from_stdin ? read_stdin() : options.text;
  std::vector<int32_t> ids;
  if (options.bos) {
    const auto bos = tokenizer->id_of("<bos>");
    if (!bos) return fail({ErrorCode::kUnsupported, "--bos: the tokenizer has no <bos> token"});
    ids.push_back(*bos);
  }
  const std::vector<int32_t> encoded =
      tokenizer->encode(text, options.special ? SpecialTokens::kRecognise : SpecialTokens::kAsText);
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  if (options.format == "json") {
    write_out(dump_json(Json{{"tokens", ids}}) + "\n");
  } else {
    std::string out;
    for (const int32_t id : ids) out += fmt::format("{}\n", id);
    write_out(out);
  }
  return kExitDone;
}

int detokenize(const TokenizeOptions& options, bool from_stdin) {
  const auto tokenizer = options.open();
  if (!tokenizer) return fail(tokenizer.error());
  std::string text = from_stdin ? read_stdin() : options.text;
  for (char& c : text) {
    if (c == '\n') c = ',';  // what tokenize prints comes back
  }
  while (!text.empty() && text.back() == ',') text.pop_back();
  const auto ids = text.empty() ? Result<std::vector<int32_t>>(std::vector<int32_t>{}) : parse_token_ids(text);
  if (!ids) return fail(ids.error());
  for (size_t i = 0; i < ids->size(); ++i) {
    if ((*ids)[i] >= tokenizer->vocabulary_size()) {
      return fail({ErrorCode::kInvalidArgument, fmt::format("token ids: entry {} is {}, expected an id in [0, {})",
                                                            i + 1, (*ids)[i], tokenizer->vocabulary_size())});
    }
  }
  const std::string decoded = tokenizer->decode(*ids);
  write_out(options.format == "json" ? dump_json(Json{{"text", decoded}}) + "\n" : decoded + "\n");
  return kExitDone;
}

void add_common(CLI::App& command, TokenizeOptions& options) {
  command.add_option("--model", options.model, "model directory or tokenizer.json (the shipped demo model)")
      ->type_name("PATH");
  command.add_option("--format", options.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

}  // namespace

void add_tokenize(CLI::App& program, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = add_command(program, "tokenize",
                                  "Text to token ids, one per line.\n\n"
                                  "  lapidary tokenize \"Hello there\"\n"
                                  "  lapidary tokenize --special --bos \"<|turn>user\" --format json");
  add_common(*command, *options);
  CLI::Option* text = command->add_option("TEXT", options->text, "the text (stdin when absent)");
  command->add_flag("--bos", options->bos, "put the begin-of-text token first");
  command->add_flag("--special", options->special, "control tokens in the text are tokens, not text");
  command->callback([=, &action] { action = [=] { return tokenize(*options, text->count() == 0); }; });
}

void add_detokenize(CLI::App& program, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = add_command(program, "detokenize", "Token ids to text.\n\n  lapidary detokenize 9259,993");
  add_common(*command, *options);
  CLI::Option* ids = command->add_option("IDS", options->text, "ids separated by commas (stdin when absent)");
  command->callback([=, &action] { action = [=] { return detokenize(*options, ids->count() == 0); }; });
}

}  // namespace lapidary::cli
