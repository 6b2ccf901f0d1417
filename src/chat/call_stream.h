// A tool call that is still being written -> its arguments as JSON text, as far as they are certain.
//
// Reads the language of parse_tool_call from left to right and builds the same object. What it passes on is never taken
// back: strings come as they are written, split between characters and escapes; a key, a number, a bare word or a
// string in ordinary quotes when it is clear where it ends; of an open string the spaces and closing brackets at its
// end wait, because without another <|"|> they would not be its own. All that was passed on, one after the other, is
// dump_wire_json of the arguments, because both are made of the same parts in the same order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace lapidary {

class CallStream {
 public:
  // text: the call as far as it has come, kStringDelimiter for each <|"|>; longer each time, with its name and the
  // first brace at least. Returns what is certain beyond what was returned before.
  std::string advance(std::string_view text);

  // text: the whole call. What is left of the JSON text is appended to rest. Errors: as parse_tool_call; what was
  // passed on before is then the beginning of no object.
  Result<Json> finish(std::string_view text, std::string& rest);

 private:
  enum class State : uint8_t { kBefore, kItem, kKey, kColon, kValue, kString, kAfter, kFailed };
  struct Open {
    Json* value;
    char closing;
    bool written;  // false inside the value of a key that was there before
  };

  bool step();
  bool read_item();
  bool read_key();
  bool read_colon();
  bool read_value();
  bool read_string();
  bool read_bare_word();
  // What stands at at_ in ordinary quotes: a value, not one after all, or not known before there is more text.
  enum class Quoted : uint8_t { kYes, kNo, kUnknown };
  Quoted read_double_quoted(Json& value);
  Quoted read_single_quoted(Json& value);
  Quoted ends_value(size_t at) const;

  bool open(char closing);
  void close();
  void begin_member();
  Json* place(Json value);
  void put(Json value);
  void write(std::string_view json, bool written);
  bool wait();  // for text behind what there is
  bool fail(std::string_view expected);
  bool at_end() const { return at_ >= text_.size(); }
  void skip(std::string_view any);

  std::string_view text_;  // during a call only
  bool complete_ = false;
  State state_ = State::kBefore;
  size_t at_ = 0;       // all before it has been read
  size_t scanned_ = 0;  // what is being looked for does not stand before it
  bool no_double_quote_ = false, no_single_quote_ = false, bare_ = false;

  std::string key_;
  std::unique_ptr<Json> root_, second_;  // second_: values of keys that were there before
  std::vector<Open> open_;
  std::string closing_;     // the brackets still to come, outermost first
  Json* member_ = nullptr;  // where the value of the key goes that was read last
  bool member_written_ = true;
  std::string* string_ = nullptr;  // the string being read
  std::string out_, error_;
};

}  // namespace lapidary
