// Runs a fuzz entry point without libFuzzer: every file of the corpus, then deterministic mutations of each, so that
// the parsers meet hostile bytes in every ctest run and under every compiler.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kMutationsPerFile = 200;

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Flips bytes, cuts, repeats and inserts; the kinds of damage that downloads and attackers do.
std::vector<uint8_t> mutate(std::vector<uint8_t> bytes, uint64_t seed) {
  uint64_t counter = 0;
  auto draw = [&](uint64_t below) { return below == 0 ? 0 : lapidary::hash_counter(seed, counter++, 0) % below; };
  const uint64_t edits = 1 + draw(8);
  for (uint64_t e = 0; e < edits; ++e) {
    const size_t at = draw(bytes.size() + 1);
    switch (draw(5)) {
      case 0:
        if (at < bytes.size()) bytes[at] ^= static_cast<uint8_t>(1u << draw(8));
        break;
      case 1:
        if (at < bytes.size()) bytes[at] = static_cast<uint8_t>(draw(256));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), draw(9), static_cast<uint8_t>(draw(256)));
        break;
      default:
        for (size_t i = at; i < bytes.size() && i < at + 8; ++i) bytes[i] = draw(2) != 0 ? 0xff : 0x00;
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || !std::filesystem::is_directory(argv[1])) {
    std::fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
    return 2;
  }
  int64_t runs = 0, files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    if (!entry.is_regular_file()) continue;
    const std::vector<uint8_t> bytes = read_file(entry.path());
    ++files;
    for (int m = 0; m <= kMutationsPerFile; ++m) {
      const std::vector<uint8_t> input = m == 0 ? bytes : mutate(bytes, static_cast<uint64_t>(m));
      LLVMFuzzerTestOneInput(input.data(), input.size());
      ++runs;
    }
  }
  LLVMFuzzerTestOneInput(nullptr, 0);
  std::printf("%lld files, %lld inputs, no crash\n", static_cast<long long>(files), static_cast<long long>(runs));
  return files > 0 ? 0 : 1;
}
