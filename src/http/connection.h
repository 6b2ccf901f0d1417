// One client's connection: reads requests one after another, hands each to the handler, sends the answer, watches for
// the client's leaving, keeps the time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/exchange.h"

namespace boost::asio {
class io_context;
}

namespace lapidary {

class Connection {
 public:
  // closed: called once, on the connection's strand, when the descriptor is closed.
  static std::shared_ptr<Connection> make(std::shared_ptr<boost::asio::io_context> context,
                                          std::shared_ptr<const HttpShared> shared,
                                          std::function<void(Connection*)> closed);
  virtual ~Connection() = default;

  // Any thread may call these; what they ask for happens on the strand, in order.

  // Takes the descriptor, which is non-blocking. overloaded: answers 503 at once.
  virtual void start(int descriptor, bool overloaded) = 0;
  virtual void drain() = 0;  // ends it when it is idle
  virtual void abort() = 0;  // ends it
};

}  // namespace lapidary
