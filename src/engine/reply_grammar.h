// Grammars of replies as constraints of requests: what may come in a thought, an answer, a call (grammar/).
//
//   ReplyConstraintOptions options;
//   options.answer = compile_json_schema(...);           // any thread, before the request waits in the queue
//   request.constraints = {make_reply_grammar(options, engine)};
//
// The answer ends with FinishReason::kStop where its grammar does. What else a request asks for gives way to the
// grammar where both cannot be had: tokens_min and ignore_eos where nothing but an end may come, a bias of -100 where
// it would leave nothing.
#pragma once

#include <memory>

#include "base/result.h"
#include "engine/engine.h"
#include "grammar/reply_constraint.h"

namespace lapidary {

// Any thread; belongs to one choice of one request. The first call builds the tree of the vocabulary (see
// Engine::mask_library); what follows the answer is made by the engine's thread when it first asks. Errors:
// kUnsupported when the model has none of the control tokens that the grammar needs.
Result<std::shared_ptr<TokenConstraint>> make_reply_grammar(const ReplyConstraintOptions& options, Engine& engine);

// The same where the whole reply is text without the model's reply format.
Result<std::shared_ptr<TokenConstraint>> make_text_grammar(GrammarPtr grammar, Engine& engine);

}  // namespace lapidary
