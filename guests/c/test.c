// Runs on the machine that builds, with its own C library.

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

static void join(void *names, const char *name, size_t length) {
  strcat(strncat(names, name, length), ",");
}

static const char *read(const char *config) {
  static char names[100];
  *names = 0;
  return config_read(config, strlen(config), join, names) ? names : NULL;
}

int main(void) {
  assert(!strcmp(read("{\"upper\": [\"db\", \"queue\"]}"), "db,queue,"));
  assert(!strcmp(read(" { \"upper\" : [ ] } "), ""));
  const char *wrong[] = {"", "{}", "[]", "{\"upper\": \"db\"}", "{\"upper\": [5]}", "{\"upper\": [\"db\",]}",
                         "{\"upper\": [\"db\"]", "{\"upper\": []} x", "{\"lower\": []}", "{\"upper\": [\"a\\\"b\"]}"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert(!read(wrong[i]));
  puts("config: good");
}
