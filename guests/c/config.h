// `config` of the network configuration: {"upper": ["NAMESPACE", …]}.

#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>

// Calls `each` with every namespace. False if the text is anything else; `each` may have been called then.
bool config_read(const char *text, size_t length, void (*each)(void *, const char *, size_t), void *argument);

#endif
