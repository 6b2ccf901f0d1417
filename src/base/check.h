// CHECK: what must hold unless the program has a bug. Always on: an inference step costs milliseconds, a check nothing.
#pragma once

namespace lapidary {

[[noreturn]] void check_failed(const char* file, int line, const char* condition);

}  // namespace lapidary

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) ::lapidary::check_failed(__FILE__, __LINE__, #condition); \
  } while (0)
