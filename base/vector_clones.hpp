#pragma once
// One build serves every machine: a function marked LOCKSTEP_VECTOR_CLONES is compiled once for
// each instruction set, and the variant is chosen when the program is loaded. Nothing where that
// is not possible: other compilers and processors, and sanitizers, which cannot run code that
// early.

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LOCKSTEP_VECTOR_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LOCKSTEP_VECTOR_CLONES
#endif
