#include "config.h"

#include <string.h>

// What is left of the text.
struct rest {
  const char *at, *end;
};

static void skip_blanks(struct rest *rest) {
  while (rest->at < rest->end && strchr(" \t\r\n", *rest->at)) rest->at++;
}

static bool take(struct rest *rest, char wanted) {
  skip_blanks(rest);
  if (rest->at == rest->end || *rest->at != wanted) return false;
  rest->at++;
  return true;
}

// A string without escapes: namespaces are DNS labels, which need none.
static bool take_string(struct rest *rest, const char **string, size_t *length) {
  if (!take(rest, '"')) return false;
  *string = rest->at;
  while (rest->at < rest->end && *rest->at != '"') {
    if (*rest->at++ == '\\') return false;
  }
  *length = rest->at - *string;
  return take(rest, '"');
}

bool config_read(const char *text, size_t length, void (*each)(void *, const char *, size_t), void *argument) {
  struct rest rest = {text, text + length};
  const char *string;
  size_t of;
  if (!take(&rest, '{') || !take_string(&rest, &string, &of)) return false;
  if (of != 5 || memcmp(string, "upper", 5) || !take(&rest, ':') || !take(&rest, '[')) return false;
  if (!take(&rest, ']')) {
    do {
      if (!take_string(&rest, &string, &of)) return false;
      each(argument, string, of);
    } while (take(&rest, ','));
    if (!take(&rest, ']')) return false;
  }
  if (!take(&rest, '}')) return false;
  skip_blanks(&rest);
  return rest.at == rest.end;
}
