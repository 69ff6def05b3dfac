// As much of a C library as a policy needs.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern unsigned char __heap_base;
static uintptr_t next;

// Nothing is ever given back: each call of a policy finds a new instance, with fresh memory.
void *malloc(size_t size) {
  if (!next) next = (uintptr_t)&__heap_base;
  uintptr_t begin = (next + 15) & ~(uintptr_t)15;
  size_t pages = (begin + size + 65535) / 65536, held = __builtin_wasm_memory_size(0);
  if (pages > held && __builtin_wasm_memory_grow(0, pages - held) == SIZE_MAX) abort();
  next = begin + size;
  return (void *)begin;
}

void *realloc(void *old, size_t size) {
  void *new = malloc(size);
  // What lies behind the old piece is memory too, and the new piece has room for it.
  if (old) memmove(new, old, size);
  return new;
}

void free(void *piece) { (void)piece; }

void abort(void) { __builtin_trap(); }

// One instruction each: bulk memory operations.
void *memcpy(void *to, const void *from, size_t size) { return __builtin_memcpy(to, from, size); }
void *memmove(void *to, const void *from, size_t size) { return __builtin_memmove(to, from, size); }
void *memset(void *to, int byte, size_t size) { return __builtin_memset(to, byte, size); }

int memcmp(const void *a, const void *b, size_t size) {
  const unsigned char *one = a, *two = b;
  for (; size; one++, two++, size--) {
    if (*one != *two) return *one - *two;
  }
  return 0;
}

size_t strlen(const char *text) {
  const char *end = text;
  while (*end) end++;
  return end - text;
}

char *strdup(const char *text) {
  size_t size = strlen(text) + 1;
  return memcpy(malloc(size), text, size);
}

char *strchr(const char *text, int wanted) {
  for (; *text; text++) {
    if (*text == (char)wanted) return (char *)text;
  }
  return wanted ? NULL : (char *)text;
}
