// One user turn wrapped in ChatML, for models whose vocabulary has its tokens.
#pragma once

#include "text/vocab.h"

bool chatml_supported(const struct vocab *v);
// system may be NULL. The user's text never becomes control tokens.
int chatml_encode(const struct vocab *v, const char *system, const char *user, size_t user_length,
                  struct ids *out, struct err *e);
