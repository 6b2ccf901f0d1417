#include "server/choice_reader.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/json.h"

namespace lapidary::server {

std::string random_id(std::string_view prefix) {
  static constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id(prefix);
  const size_t length = id.size() + 24;
  while (id.size() < length) {
    std::array<unsigned char, 64> random;
    if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) continue;
    // 248 is the largest multiple of 62 in a byte: no digit is likelier than another.
    for (const unsigned char byte : random) {
      if (byte < 248 && id.size() < length) id += kDigits[byte % 62];
    }
  }
  return id;
}

ChoiceReader::ChoiceReader(const Tokenizer& tokenizer, const ChoiceOptions& options, int32_t choice)
    : tokenizer_(&tokenizer),
      options_(options),
      choice_(choice),
      reader_(tokenizer, options.thought_open, options.goes_on),
      stream_(tokenizer),
      stops_(options.stop),
      channel_begin_(tokenizer.id_of("<|channel>").value_or(-1)),
      channel_end_(tokenizer.id_of("<channel|>").value_or(-1)),
      call_begin_(tokenizer.id_of("<|tool_call>").value_or(-1)),
      in_thought_(options.chat && options.thought_open) {}

void ChoiceReader::take(const Event& event, std::vector<AnswerDelta>& deltas) {
  if (finished_) return;
  size_t known = deltas.size();
  if (event.prompt_done > 0 && !stopped()) {
    AnswerDelta delta;
    delta.kind = AnswerDelta::Kind::kPromptDone;
    delta.choice = choice_;
    delta.prompt_done = event.prompt_done;
    deltas.push_back(std::move(delta));
  }
  result_.prompt_logprobs.insert(result_.prompt_logprobs.end(), event.prompt_logprobs.begin(),
                                 event.prompt_logprobs.end());
  if (!event.tokens.empty() || event.finish != FinishReason::kNone) emit_prompt_logprobs(deltas);
  for (size_t i = 0; i < event.tokens.size() && !stopped(); ++i) token(event, i, deltas);
  if (!options_.chat && !stopped()) content(event.text, deltas);
  if (event.finish != FinishReason::kNone) finish(event, deltas);
  for (; known < deltas.size(); ++known) deltas[known].completion_tokens = static_cast<int32_t>(result_.tokens.size());
}

void ChoiceReader::token(const Event& event, size_t index, std::vector<AnswerDelta>& deltas) {
  const int32_t token = event.tokens[index];
  result_.tokens.push_back(token);
  const bool special = tokenizer_->is_special(token);
  if (token == channel_begin_) in_thought_ = true;
  const bool begins_call = token == call_begin_;
  if (begins_call) in_thought_ = false;  // models forget <channel|>
  if (in_thought_) ++result_.thought_tokens;
  const bool is_content = !in_thought_ && !in_call_ && !special;
  if (token == channel_end_) in_thought_ = false;
  if (event.logprobs.size() > index && (is_content || options_.raw)) pending_.push_back(event.logprobs[index]);
  if (!options_.chat) return;
  if (options_.raw) {
    content(special ? stream_.flush() + std::string(tokenizer_->piece(token)) : stream_.push(token), deltas);
  } else {
    take_reply(reader_.push(token), false, deltas);
  }
  if (begins_call) in_call_ = true;  // only now: what was held until then stood before it
}

void ChoiceReader::take_reply(const std::vector<ReplyEvent>& events, bool cut, std::vector<AnswerDelta>& deltas) {
  for (const ReplyEvent& event : events) {
    if (stopped()) return;
    switch (event.kind) {
      case ReplyEvent::Kind::kThought:
        if (!options_.show_thought) break;
        result_.thought += event.text;
        deltas.push_back({AnswerDelta::Kind::kThought, choice_, event.text});
        break;
      case ReplyEvent::Kind::kText:
        // What could not be read as a call, because the answer ended inside it: markup, and no text.
        if (std::exchange(in_call_, false)) {
          call_name_.clear();
          call_told_ = false;
          break;
        }
        content(event.text, deltas);
        break;
      case ReplyEvent::Kind::kCallBegun:
        // Text that might have begun a stop string did not: a call is not text.
        emit_text(stops_.flush(), deltas);
        call_name_ = event.text;
        call_told_ = false;
        break;
      case ReplyEvent::Kind::kCallArguments:
        if (cut) break;  // what would mend it: the fragment stays as the model left it
        begin_call(deltas);
        result_.calls.back().arguments += event.text;
        deltas.push_back({AnswerDelta::Kind::kCallArguments, choice_, event.text});
        deltas.back().call_index = static_cast<int32_t>(result_.calls.size()) - 1;
        break;
      case ReplyEvent::Kind::kCall: {
        if (cut) {
          // A call of which nothing was told is none.
          if (call_told_) result_.calls.back().call.arguments = event.call.arguments;
          break;
        }
        if (call_name_.empty()) call_name_ = event.call.name;
        const bool told = call_told_;
        begin_call(deltas);
        CallResult& call = result_.calls.back();
        call.call = event.call;
        call.call.id = call.id;
        call.complete = true;
        const int32_t call_index = static_cast<int32_t>(result_.calls.size()) - 1;
        if (!told) {
          call.arguments = dump_wire_json(event.call.arguments);
          deltas.push_back({AnswerDelta::Kind::kCallArguments, choice_, call.arguments});
          deltas.back().call_index = call_index;
        }
        deltas.push_back({AnswerDelta::Kind::kCall, choice_});
        deltas.back().call_index = call_index;
        deltas.back().call_id = call.id;
        deltas.back().call = call.call;
        call_name_.clear();
        call_told_ = false;
        in_call_ = false;
        break;
      }
    }
  }
}

void ChoiceReader::begin_call(std::vector<AnswerDelta>& deltas) {
  if (call_told_) return;
  call_told_ = true;
  result_.calls.push_back({random_id("call_"), {}});
  result_.calls.back().call.name = call_name_;
  AnswerDelta delta{AnswerDelta::Kind::kCallBegun, choice_, call_name_};
  delta.call_index = static_cast<int32_t>(result_.calls.size()) - 1;
  delta.call_id = result_.calls.back().id;
  deltas.push_back(std::move(delta));
}

void ChoiceReader::content(std::string_view more, std::vector<AnswerDelta>& deltas) {
  if (more.empty()) return;
  emit_text(stops_.push(more), deltas);
  if (!stops_.stopped()) return;
  result_.end = AnswerEnd::kStopString;
  result_.stop_string = stops_.matched();
  if (options_.include_stop) emit_text(result_.stop_string, deltas);
}

void ChoiceReader::emit_prompt_logprobs(std::vector<AnswerDelta>& deltas) {
  if (prompt_told_ || result_.prompt_logprobs.empty()) return;
  prompt_told_ = true;
  deltas.push_back({AnswerDelta::Kind::kPromptScored, choice_, "", result_.prompt_logprobs});
}

void ChoiceReader::emit_text(std::string text, std::vector<AnswerDelta>& deltas) {
  if (text.empty()) return;
  result_.text += text;
  deltas.push_back({AnswerDelta::Kind::kText, choice_, std::move(text)});
  attach_logprobs(deltas.back());
}

// Tokens whose bytes make up the text; those of white space that the reply format drops (after a thought or a call)
// belong to no text and are left out, so that the bytes of all entries together are the text.
void ChoiceReader::attach_logprobs(AnswerDelta& delta) {
  if (pending_.empty()) return;
  unmatched_ += delta.text;
  while (!pending_.empty() && !unmatched_.empty()) {
    const std::string bytes = tokenizer_->bytes_of(pending_.front().token);
    const size_t common = std::min(bytes.size(), unmatched_.size());
    const bool fits = std::string_view(bytes).substr(0, common) == std::string_view(unmatched_).substr(0, common);
    if (fits && bytes.size() > unmatched_.size()) break;
    if (!fits && bytes.find_first_not_of(" \t\r\n") == std::string::npos) {
      pending_.pop_front();
      continue;
    }
    unmatched_.erase(0, common);
    result_.logprobs.push_back(pending_.front());
    delta.logprobs.push_back(std::move(pending_.front()));
    pending_.pop_front();
  }
}

void ChoiceReader::finish(const Event& event, std::vector<AnswerDelta>& deltas) {
  const bool stopped_before = stopped();
  if (!stopped_before && options_.chat) {
    if (options_.raw) {
      content(stream_.flush(), deltas);
    } else {
      take_reply(reader_.finish(), event.finish != FinishReason::kStop || event.repetition, deltas);
    }
  }
  if (!stopped()) emit_text(stops_.flush(), deltas);
  finished_ = true;
  result_.usage = event.usage;
  result_.timing = event.timing;
  result_.speculation = event.speculation;
  if (!stopped()) {
    if (!event.stop_string.empty()) {
      result_.end = AnswerEnd::kStopString;
      result_.stop_string = event.stop_string;
      if (options_.include_stop) emit_text(result_.stop_string, deltas);
    } else {
      result_.end = event.repetition                           ? AnswerEnd::kRepetition
                    : event.finish == FinishReason::kStop      ? AnswerEnd::kStop
                    : event.finish == FinishReason::kCancelled ? AnswerEnd::kCancelled
                                                               : AnswerEnd::kLength;
    }
  }
  // The token that ended the answer is no part of it.
  if (result_.end == AnswerEnd::kStop && !result_.tokens.empty()) {
    const int32_t last = result_.tokens.back();
    if (std::find(options_.stop_tokens.begin(), options_.stop_tokens.end(), last) != options_.stop_tokens.end())
      result_.stop_token = last;
    result_.tokens.pop_back();
  }
  result_.usage.completion_tokens = static_cast<int32_t>(result_.tokens.size());
}

}  // namespace lapidary::server
