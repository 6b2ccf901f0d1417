// Target regions: code between LAPIDARY_TARGET_BEGIN("avx2,fma") and LAPIDARY_TARGET_END is compiled for that
// instruction set, whatever the file's flags are. Standard headers must be included before the region opens: a template
// instantiated inside it would carry the instructions into code shared with the whole program.
#pragma once

#define LAPIDARY_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define LAPIDARY_TARGET_BEGIN(isa) \
  LAPIDARY_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define LAPIDARY_TARGET_END LAPIDARY_PRAGMA(clang attribute pop)
#else
#define LAPIDARY_TARGET_BEGIN(isa) LAPIDARY_PRAGMA(GCC push_options) LAPIDARY_PRAGMA(GCC target(isa))
#define LAPIDARY_TARGET_END LAPIDARY_PRAGMA(GCC pop_options)
#endif
